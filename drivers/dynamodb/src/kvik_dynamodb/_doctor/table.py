"""What the control plane says of the table; the driver itself needs none of it."""

from collections.abc import Mapping
from typing import Any

from .._expiry import EXPIRY
from .._item import TOKEN, VALUE
from .calls import Answer
from .findings import Finding, not_checked
from .question import Question

_USABLE = {"ACTIVE", "UPDATING"}
_SOON = {"CREATING"}
MISSING = "MISSING"
"""The status of a table that is not there, a word of ours."""


def judge_table(question: Question, describe: Answer, read: Answer, region: str) -> Finding:
    """Say whether the table is there and can be used."""
    if "no such table" in {describe.cause, read.cause}:
        return _missing(question, region)
    if describe.reply is None:
        return _undescribed("table", "DescribeTable", describe)
    table = describe.reply["Table"]
    status = str(table["TableStatus"])
    details = {"status": status, "arn": table.get("TableArn")}
    if status in _USABLE:
        return Finding(name="table", status="ok", message=f"{question.table} is {status}", details=details)
    return Finding(
        name="table",
        status="warning" if status in _SOON else "failed",
        message=f"{question.table} is {status}",
        advice="wait until it is ACTIVE" if status in _SOON else "make it ACTIVE again, or use another table",
        details=details,
    )


def _missing(question: Question, region: str) -> Finding:
    if question.create_table:
        message = f"there is no table {question.table}: connect() will create it"
        return Finding(name="table", status="warning", message=message, details={"status": MISSING})
    command = question.aws_command(
        "create-table",
        "--attribute-definitions",
        f"AttributeName={question.partition_key_name},AttributeType=S",
        "--key-schema",
        f"AttributeName={question.partition_key_name},KeyType=HASH",
        "--billing-mode",
        "PAY_PER_REQUEST",
        region=region,
    )
    return Finding(
        name="table",
        status="failed",
        message=f"there is no table {question.table} in this account and region",
        advice="check name, region and account, create it, or pass create_table=True for development",
        command=command,
        details={"status": MISSING},
    )


def judge_key_schema(question: Question, describe: Answer, read: Answer) -> Finding:
    """Say whether the table's key is one string partition key of the right name."""
    name, wanted = "key_schema", question.partition_key_name
    if "no such table" in {describe.cause, read.cause}:
        return not_checked(name, "there is no table")
    if describe.reply is not None:
        return _compare_key(wanted, describe.reply["Table"], _unfit_indexes(question, describe.reply["Table"]))
    if read.reply is not None:
        message = f"one string partition key {wanted!r}, else the read would have been refused"
        return Finding(name=name, status="ok", message=message)
    if read.cause == "wrong key schema":
        advice = "pass the table's own partition_key_name, or use another table"
        message = f"it is not one string partition key {wanted!r} without a sort key"
        return Finding(name=name, status="failed", message=message, advice=advice)
    return not_checked(name, "the table could neither be described nor read")


def _unfit_indexes(question: Question, table: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with secondary indexes: an index refuses every item that it has no place for."""
    types = {each["AttributeName"]: each["AttributeType"] for each in table["AttributeDefinitions"]}
    stored = {TOKEN: "S", EXPIRY: "N", question.ttl_attribute: "N"}
    wrong = []
    for index in [*(table.get("GlobalSecondaryIndexes") or []), *(table.get("LocalSecondaryIndexes") or [])]:
        for name in (key["AttributeName"] for key in index["KeySchema"]):
            where = f"the secondary index {index['IndexName']!r} has {name!r} as a key"
            if name == VALUE:
                wrong.append(f"{where}, so that empty and long values are refused")
            elif types.get(name) != stored.get(name, types.get(name)):
                wrong.append(f"{where} of type {types.get(name)}, where the driver writes {stored[name]}")
    return wrong


def _compare_key(wanted: str, table: Mapping[str, Any], unfit: list[str]) -> Finding:
    types = {each["AttributeName"]: each["AttributeType"] for each in table["AttributeDefinitions"]}
    keys = {each["KeyType"]: each["AttributeName"] for each in table["KeySchema"]}
    partition, sort = keys["HASH"], keys.get("RANGE")
    details = {"partition_key": partition, "type": types.get(partition), "sort_key": sort}
    wrong, advice = [], "use another table, or create one with a single string partition key"
    if partition != wanted:
        wrong.append(f"its partition key is {partition!r}, not {wanted!r}")
    if types.get(partition) != "S":
        wrong.append(f"its partition key is of type {types.get(partition)}, not S (String)")
    if sort is not None:
        wrong.append(f"it has a sort key {sort!r}")
    if partition != wanted and len(wrong) == 1:
        advice = f"pass partition_key_name={partition!r}, or use another table"
    if unfit and not wrong:
        advice = "remove the index, or use another table"
    wrong += unfit
    if wrong:
        return Finding(
            name="key_schema", status="failed", message=", and ".join(wrong), advice=advice, details=details
        )
    message = f"one string partition key {wanted!r}, no sort key"
    return Finding(name="key_schema", status="ok", message=message, details=details)


def judge_ttl(question: Question, described: Answer, table: Finding, region: str) -> Finding:
    """Say whether DynamoDB sweeps what has expired."""
    if "expiry" not in question.capabilities:
        return Finding(name="ttl", status="ok", message="not needed without the capability expiry")
    if table.details.get("status") == MISSING:
        return not_checked("ttl", "there is no table")
    if described.reply is None:
        return _undescribed("ttl", "DescribeTimeToLive", described)
    found, wanted = described.reply["TimeToLiveDescription"], question.ttl_attribute
    status, attribute = str(found["TimeToLiveStatus"]), found.get("AttributeName")
    details = {"status": status, "attribute": attribute}
    on = status in {"ENABLED", "ENABLING"}
    if on and attribute == wanted:
        return Finding(name="ttl", status="ok", message=f"{status} on {wanted!r}", details=details)
    message = f"it is on the attribute {attribute!r}, not {wanted!r}" if on else f"it is {status}"
    command = question.aws_command(
        "update-time-to-live",
        "--time-to-live-specification",
        f"Enabled=true,AttributeName={wanted}",
        region=region,
    )
    return Finding(
        name="ttl",
        status="warning",
        message=f"{message}: expired items are never read, but never deleted either",
        advice=(
            f"pass ttl_attribute={attribute!r}, or turn it off there, wait an hour, and turn it on for {wanted!r}"
            if on
            else f"turn it on for {wanted!r}"
        ),
        command=command,
        details=details,
    )


def _undescribed(name: str, operation: str, answer: Answer) -> Finding:
    details = {"cause": answer.cause, "reason": answer.reason}
    if answer.cause == "access denied":
        message = f"not checked: {operation} is denied ({answer.reason}), which the driver itself does not need"
        advice = f"allow dynamodb:{operation} to whoever runs the doctor, to have it checked"
    else:
        message, advice = f"not checked: {operation} failed: {answer.error}", ""
    return Finding(name=name, status="warning", message=message, advice=advice, details=details)
