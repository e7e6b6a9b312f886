"""The smallest IAM policy for what a service does with its table."""

from typing import Any

from .findings import Finding
from .question import CAPABILITIES, Question

_PLACEHOLDER_ACCOUNT = "123456789012"  # the one of AWS's documentation

_ALWAYS = ("GetItem", "PutItem", "DeleteItem")
# Conditional writes, counters and expiries are PutItem and DeleteItem with a condition or one more attribute.
_BY_CAPABILITY = {"batch": ("BatchGetItem", "BatchWriteItem"), "scan": ("Scan",)}
_TO_CREATE = ("CreateTable", "DescribeTable", "UpdateTimeToLive", "DescribeTimeToLive")


def make_policy(question: Question, arn: str) -> dict[str, Any]:
    """Allow exactly the actions in use, on exactly this table."""
    actions = [*_ALWAYS]
    for capability, more in _BY_CAPABILITY.items():
        if capability in question.capabilities:
            actions += more
    if question.create_table:
        actions += _TO_CREATE
    allowed = {"Effect": "Allow", "Action": [f"dynamodb:{action}" for action in actions], "Resource": arn}
    return {"Version": "2012-10-17", "Statement": [allowed]}


def build_arn(question: Question, partition: str, region: str, account: str) -> str:
    """Give the table's ARN as far as it is known without asking for it."""
    if question.table.startswith("arn:"):
        return question.table
    return (
        f"arn:{partition}:dynamodb:{region or 'REGION'}:{account or _PLACEHOLDER_ACCOUNT}:table/{question.table}"
    )


def judge_policy(question: Question, *, arn: str, from_aws: bool, account_known: bool) -> Finding:
    """Say what the policy is for, and what to put into it by hand."""
    used = ["get", "set", "delete", *(name for name in CAPABILITIES if name in question.capabilities)]
    used += ["create_table"] if question.create_table else []
    placeholders = [] if from_aws or account_known else [f"account {_PLACEHOLDER_ACCOUNT}"]
    placeholders += ["region REGION"] if ":REGION:" in arn else []
    replace = f"{' and '.join(placeholders)} in it: a placeholder, put your own; " if placeholders else ""
    return Finding(
        name="policy",
        status="ok",
        message=f"the smallest for {', '.join(used)}",
        advice=f"{replace}a dynamodb:LeadingKeys condition must also allow the health key {question.health_key!r}",
        details={"arn": arn, "placeholder": bool(placeholders)},
    )
