"""What the reads of the health key show: the server, the right to read, and the clocks."""

from typing import Any

from .calls import Answer, typical_latency
from .findings import Finding, not_checked
from .network import Way
from .question import Question

_WORTH_A_WARNING = 60.0  # seconds
_REFUSED_FROM = 300.0  # docs: "Signature Version 4": a request is valid for five minutes
_CLOCK_REASONS = {
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "RequestExpired",
    "RequestTimeTooSkewed",
}
_DENIALS = {"AccessDeniedException", "AccessDenied"}


def judge_reachability(way: Way, answers: list[Answer]) -> Finding:
    """Say whether the server answers, and how fast."""
    details: dict[str, Any] = {
        "host": way.host,
        "port": way.port,
        "proxy": way.proxy,
        "dns_ms": way.dns_ms,
        "connect_ms": way.connect_ms,
    }
    if way.obstacle:
        what = "the proxy that the environment names" if way.proxy else "endpoint and region"
        advice = f"see that the server runs, and check {what}, DNS, firewalls and routes"
        return _reachability("failed", way.obstacle, details, advice)
    answered = [answer for answer in answers if answer.answered]
    if not answered:
        advice = ""
        if answers[-1].reason == "SSLError":
            advice = (
                "the server's certificate is not trusted or of another name: see AWS_CA_BUNDLE and the endpoint"
            )
        return _reachability("failed", str(answers[-1].error), details, advice)
    details |= {
        "first_ms": answered[0].milliseconds,
        "median_ms": typical_latency(answered),
        "reads": len(answered),
    }
    proxy = f" through the proxy {way.host}" if way.proxy else ""
    message = (
        f"a read takes {details['median_ms']} ms (median of {max(1, len(answered) - 1)}; the first"
        f" {details['first_ms']} ms, the name {way.dns_ms} ms, connecting {way.connect_ms} ms){proxy}"
    )
    lost = len(answers) - len(answered)
    if lost:
        return _reachability("warning", f"{lost} of {len(answers)} reads got no answer; {message}", details)
    return _reachability("ok", message, details)


def _reachability(status: Any, message: str, details: dict[str, Any], advice: str = "") -> Finding:
    return Finding(name="reachability", status=status, message=message, advice=advice, details=details)


def judge_clock(answers: list[Answer]) -> Finding:
    """Say how far this machine's clock is from the server's."""
    offset = next((answer.clock_offset for answer in answers if answer.clock_offset is not None), None)
    if offset is None:
        why = (
            "the server sent no date"
            if any(answer.answered for answer in answers)
            else "no answer to compare with"
        )
        return not_checked("clock", why)
    details = {"offset_seconds": offset, "resolution_seconds": 1}
    if abs(offset) < _WORTH_A_WARNING:
        message = "agrees with the server's to the second that its Date header shows"
        if abs(offset) > 1:
            message = f"{_apart(offset)} (its Date header has whole seconds)"
        return Finding(name="clock", status="ok", message=message, details=details)
    refused = (
        "AWS refuses such requests" if abs(offset) >= _REFUSED_FROM else "requests will be refused at 5 minutes"
    )
    return Finding(
        name="clock",
        status="warning",
        message=f"{_apart(offset)} (its Date header has whole seconds): {refused}, and keys expire at wrong times",
        advice="synchronise this machine's clock, by NTP or chrony",
        details=details,
    )


def _apart(offset: float) -> str:
    return f"{abs(offset):.0f} s {'behind' if offset > 0 else 'ahead of'} the server's"


def judge_read(question: Question, answers: list[Answer], clock: Finding) -> Finding:
    """Say whether the driver's own health read would work."""
    answered = [answer for answer in answers if answer.answered]
    if not answered:
        return not_checked("read", "the server does not answer")
    answer = answered[-1]
    details = {"health_key": question.health_key, "cause": answer.cause or None, "reason": answer.reason or None}
    if answer.error is None:
        message = "reading the health key works, whether or not it exists"
        return Finding(name="read", status="ok", message=message, details=details)
    if answer.cause == "no such table" and question.create_table:
        return not_checked("read", "the table is still to be created")
    seen_elsewhere = answer.cause in {"no such table", "wrong key schema"}
    return Finding(
        name="read",
        status="warning" if answer.cause == "throttled" else "failed",
        message=f"reading the health key fails: {answer.cause}" if seen_elsewhere else str(answer.error),
        advice=_advice(question, answer, clock),
        details=details,
    )


def _advice(question: Question, answer: Answer, clock: Finding) -> str:
    if answer.reason in _DENIALS:
        return (
            "allow dynamodb:GetItem as in the policy below; under a dynamodb:LeadingKeys condition, also the"
            f" health key {question.health_key!r}"
        )
    if answer.reason in _CLOCK_REASONS and clock.status == "warning":
        return "correct the clock first: a signature holds the time"
    return ""
