"""The whole examination: what is asked of whom, in which order, and what follows from it."""

from typing import Any

from botocore.session import Session

from .budget import Budget
from .calls import Answer, Caller
from .findings import Diagnosis, Finding, guarded, not_checked
from .identity import Identity, identify
from .network import find_way
from .place import Place, locate
from .policy import build_arn, judge_policy, make_policy
from .question import Question
from .server import judge_clock, judge_reachability, judge_read
from .table import judge_key_schema, judge_table, judge_ttl

_OF_THE_SERVER = ("reachability", "clock", "read", "table", "key_schema", "ttl")


def diagnose(question: Question) -> Diagnosis:
    """Examine everything that can be; never raises, and takes at most about ten seconds."""
    time_left = Budget()
    identity = identify(question, time_left)
    place = locate(question, identity)
    findings = [identity.finding, place.region, place.endpoint]
    table_arn = None
    if place.client is None:
        findings += [not_checked(name, "no endpoint is known") for name in _OF_THE_SERVER]
    else:
        try:
            seen, table_arn = _examine_server(question, identity, place, time_left)
        finally:
            place.client.close()
        findings += seen
    finding, policy = _find_policy(question, identity, place.target.region, table_arn)
    return Diagnosis([*findings, finding], policy)


def _examine_server(
    question: Question, identity: Identity, place: Place, time_left: Budget
) -> tuple[list[Finding], str | None]:
    assert place.client is not None  # noqa: S101 - the caller has looked
    way = find_way(place.url, time_left)
    caller = Caller(place.client, place.target, time_left)
    answers = [] if way.obstacle else caller.sample(question)
    reachability = guarded("reachability", lambda: judge_reachability(way, answers))
    clock = guarded("clock", lambda: judge_clock(answers))
    findings = [reachability, clock]
    why = _why_not_to_ask(identity, answers)
    if why:
        return findings + [not_checked(name, why) for name in ("read", "table", "key_schema", "ttl")], None
    read = next(answer for answer in reversed(answers) if answer.answered)
    described, ttl = caller.describe("DescribeTable"), caller.describe("DescribeTimeToLive")
    region = place.target.region
    table = guarded("table", lambda: judge_table(question, described, read, region))
    findings += [
        guarded("read", lambda: judge_read(question, answers, clock)),
        table,
        guarded("key_schema", lambda: judge_key_schema(question, described, read)),
        guarded("ttl", lambda: judge_ttl(question, ttl, table, region)),
    ]
    return findings, _arn(described)


def _why_not_to_ask(identity: Identity, answers: list[Answer]) -> str:
    if not any(answer.answered for answer in answers):
        return "the server does not answer"
    return "" if identity.usable else "there are no credentials to ask with"


def _arn(described: Answer) -> str | None:
    table: Any = (described.reply or {}).get("Table")
    arn = table.get("TableArn") if isinstance(table, dict) else None
    return arn if isinstance(arn, str) else None


def _find_policy(
    question: Question, identity: Identity, region: str, table_arn: str | None
) -> tuple[Finding, dict[str, Any]]:
    arn = table_arn or build_arn(question, _partition(identity.session, region), region, identity.account)
    known = bool(identity.account) or question.table.startswith("arn:")
    finding = judge_policy(question, arn=arn, from_aws=table_arn is not None, account_known=known)
    return finding, make_policy(question, arn)


def _partition(session: Session, region: str) -> str:
    try:
        return str(session.get_partition_for_region(region))
    except Exception:  # noqa: BLE001 - a region that botocore does not know, whatever it raises for that
        return "aws"
