"""What does a DynamoDB operation cost the client? Kvik's driver beside other clients, alone and in a web service.

Alone: CPU time of the client's process per GetItem and PutItem, with 1 and with 32 in flight, against Dynoxide.
"To floor" is how many times more than the floor a client takes; "boto3 to it" and "aiodynamo to it" say how many
times more than it these take. End to end: requests per second of a GET handler that reads one key, Kvik with its
batteries on, FastAPI without any. Client or server have one core, Dynoxide and the load the other. Every round
runs all contenders; figures are medians over the rounds of the ratios within a round. Microseconds are for
orientation only.
"""

import argparse
import os
from pathlib import Path
from typing import Any

import boto3

import dynoxide
import figures
import peers
import servers
from dynamodb import client_rounds, server_rounds
from dynamodb.items import CREDENTIALS, KEYS, REGION, TABLE, VALUE, key
from wrk import need_wrk


def main() -> None:
    """Run both parts, print their tables, and write what the options ask for."""
    options = _options()
    need_wrk()
    peers.python()
    peers.aiobotocore_python()
    servers.keep_to_the_load_core()
    os.environ.update(CREDENTIALS)
    result: dict[str, Any] = {}
    with dynoxide.running(servers.LOAD_CORE) as endpoint:
        _fill(endpoint)
        if options.clients:
            result["clients"] = client_rounds.measure(endpoint, options)
            client_rounds.show(result["clients"])
        if options.servers:
            result["servers"] = server_rounds.measure(endpoint, options)
            server_rounds.show(result["servers"])
    figures.write(options.json, str(__doc__), options.rounds, result)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="rounds of all contenders, default 7")
    parser.add_argument(
        "--seconds", type=float, default=0.5, help="seconds of each measurement of a client, default 0.5"
    )
    parser.add_argument("--load-seconds", type=int, default=3, help="seconds of each load of a server, default 3")
    for option, known in (("--clients", client_rounds.CONTENDERS), ("--servers", server_rounds.CONTENDERS)):
        text = f"default all: {' '.join(known)}; none leaves this part out"
        parser.add_argument(option, nargs="*", choices=known, default=list(known), help=text, metavar="NAME")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    return parser.parse_args()


def _fill(endpoint: str) -> None:
    dynamodb = boto3.resource("dynamodb", region_name=REGION, endpoint_url=endpoint)
    table = dynamodb.create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    with table.batch_writer() as batch:
        for number in range(KEYS):
            batch.put_item(Item={"pk": key(number), "value": VALUE})


if __name__ == "__main__":
    main()
