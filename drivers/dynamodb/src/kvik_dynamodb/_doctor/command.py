"""The command line: ``python -m kvik_dynamodb doctor --table NAME``."""

import argparse
import os
import shutil
import sys
from collections.abc import Sequence

from .._driver import DynamoDB
from .._errors import DynamoDBError
from .diagnosis import diagnose
from .question import CAPABILITIES, Question
from .report import Terminal, as_json, as_text

_INTERRUPTED = 130  # a shell's status for Ctrl+C


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; give 0 if nothing failed, 1 if something did. Exits with 2 for a wrong usage."""
    options = _parser().parse_args(arguments)
    question = _question(options.parser, options)
    try:
        diagnosis = diagnose(question)
        _print(as_json(diagnosis) if options.json else as_text(diagnosis, _terminal()))
    except KeyboardInterrupt:
        return _INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last resort: a sentence, and no stack, for the person
        sys.stderr.write(f"the doctor itself failed ({type(error).__name__}): report this as a fault of Kvik\n")
        return 1
    return 1 if diagnosis.status == "failed" else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m kvik_dynamodb", description="Help with a DynamoDB table.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    doctor = commands.add_parser(
        "doctor",
        help="find out what keeps a service from working with DynamoDB",
        description="Find out what keeps a service from working with DynamoDB. Nothing is changed.",
        epilog="Exit status: 0 nothing failed, 1 something failed, 2 wrong usage.",
        allow_abbrev=False,
    )
    doctor.set_defaults(parser=doctor)
    add = doctor.add_argument
    add("--table", required=True, metavar="NAME", help="the table's name or ARN")
    add("--region", help="default: the AWS configuration's")
    add("--endpoint", default="", metavar="URL", help="default: AWS")
    add("--profile", help="of ~/.aws; default: AWS_PROFILE")
    add("--partition-key-name", default="pk", metavar="NAME", help="default: %(default)s")
    add("--ttl-attribute", default="expires_at", metavar="NAME", help="default: %(default)s")
    add("--health-key", default="kvik:health", metavar="KEY", help="default: %(default)s")
    add(
        "--capabilities",
        default=",".join(CAPABILITIES),
        metavar="LIST",
        help="what the service uses besides get, set and delete, for the IAM policy; default: %(default)s",
    )
    add("--create-table", action="store_true", help="the service uses create_table=True")
    add("--json", action="store_true", help="one JSON object, for programs")
    return parser


def _question(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Question:
    capabilities = frozenset(filter(None, options.capabilities.split(",")))
    if unknown := sorted(capabilities.difference(CAPABILITIES)):
        parser.error(f"unknown capabilities {', '.join(unknown)}: choose from {', '.join(CAPABILITIES)}")
    configuration = {
        "table": options.table,
        "region": options.region,
        "endpoint": options.endpoint,
        "partition_key_name": options.partition_key_name,
        "ttl_attribute": options.ttl_attribute,
        "health_key": options.health_key,
    }
    try:
        DynamoDB(**configuration)  # opens nothing, and refuses what cannot work
    except DynamoDBError as error:
        parser.error(str(error))
    return Question(
        **configuration, profile=options.profile, capabilities=capabilities, create_table=options.create_table
    )


def _terminal() -> Terminal:
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    if not sys.stdout.isatty():
        return Terminal(encoding=sys.stdout.encoding or "utf-8")
    width = shutil.get_terminal_size((100, 24)).columns
    return Terminal(width=width, colour=not plain, encoding=sys.stdout.encoding or "utf-8")


def _print(text: str) -> None:
    try:
        print(text, flush=True)  # noqa: T201 - this is what the command is for
    except BrokenPipeError:  # the reader, such as head, has enough; Python's own flush at exit must not fail too
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
