"""What happened to the keys, and whether it can have happened.

Two sides tell of a key. Callers tell of their calls: what they wrote or read, from when to when, with what
outcome. The proxy tells of every write that the server has done: it was sent, and then done, at these moments;
also of those which came late, after their caller had given up or had sent them again. So no doubt is left that
would excuse a wrong answer. Written values are unique, but for that of a deletion, None; so one task at a time
deletes a key.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from math import inf
from typing import Literal

Outcome = Literal["ok", "not_applied", "unknown"]


@dataclass(frozen=True, slots=True)
class Applied:
    """A write that the server has done between two moments; ``received`` is when its request came."""

    value: str | None
    received: float
    sent: float
    done: float


@dataclass(frozen=True, slots=True)
class Write:
    """A call that was to write; with a condition, ``expected`` is the value that was to be there."""

    verb: str
    value: str | None
    start: float
    end: float
    outcome: Outcome
    expected: str | None = None
    conditional: bool = False


@dataclass(frozen=True, slots=True)
class Read:
    """A call that has found a value, or by None nothing."""

    verb: str
    value: str | None
    start: float
    end: float


@dataclass(slots=True)
class History:
    """All that is told of one key, which was absent at first."""

    key: str
    applied: list[Applied] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)

    def around(self, start: float, end: float) -> list[str]:
        """Give what happened then, in order."""
        events: list[Applied | Write | Read] = [*self.applied, *self.writes, *self.reads]
        near = [each for each in events if _start(each) <= end and _end(each) >= start]
        return [f"{_start(each):.6f} to {_end(each):.6f}  {each}" for each in sorted(near, key=_start)]


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken, by this call."""

    promise: str
    key: str
    event: Write | Read

    def __str__(self) -> str:
        return f"{self.promise}: key {self.key!r}, {self.event}"


def check(history: History) -> list[Violation]:
    """Find what cannot have happened to a key whose values were set."""
    states = _States(history.applied)
    found = [*_check_writes(history, states), *_check_reads(history.reads, states)]
    return [Violation(promise, history.key, event) for promise, event in found]


def check_counter(history: History) -> list[Violation]:
    """Find what cannot have happened to a key that was only counted up, each time by one."""
    sums = [int(each.value or 0) for each in history.applied]
    acknowledged = [each for each in history.writes if each.outcome == "ok"]
    doubtful = [each for each in history.writes if each.outcome == "unknown"]
    found: list[tuple[str, Write | Read]] = []
    if sorted(sums) != list(range(1, len(sums) + 1)):
        found.append(("an increment was lost, or done twice", history.writes[-1]))
    if not len(acknowledged) <= len(sums) <= len(acknowledged) + len(doubtful):
        found.append(("the count is not that of the increments", history.writes[-1]))
    found += [(promise, event) for promise, event in _check_acknowledged(acknowledged, history.applied)]
    if len({each.value for each in acknowledged}) < len(acknowledged):
        found.append(("two increments gave one sum", history.writes[-1]))
    found += _check_reads(history.reads, _States(history.applied))
    return [Violation(promise, history.key, event) for promise, event in found]


class _States:
    """Tell what a key can have been, by the writes that were done."""

    def __init__(self, applied: Iterable[Applied]) -> None:
        self._applied: dict[str | None, list[Applied]] = {None: [Applied(None, -inf, -inf, -inf)]}
        for each in applied:
            self._applied.setdefault(each.value, []).append(each)
        by_done = sorted((each.done, each.sent) for each in applied)
        self._done = [done for done, _ in by_done]
        self._newest_sent = list(accumulate((sent for _, sent in by_done), max))

    def allow(self, value: str | None, start: float, end: float) -> bool:
        """Say whether the key can have been so at a moment of this time.

        A value is there from some moment of its write until some moment of the next one; so what was wholly
        overwritten by a write that ended before the start is gone, and what began after the end was not there.
        """
        ended = bisect_left(self._done, start)
        newest = self._newest_sent[ended - 1] if ended else -inf
        return any(each.sent <= end and each.done >= newest for each in self._applied.get(value, ()))

    def of(self, value: str | None) -> list[Applied]:
        return self._applied.get(value, [])


def _check_reads(reads: Iterable[Read], states: _States) -> Iterator[tuple[str, Write | Read]]:
    for read in reads:
        if not states.allow(read.value, read.start, read.end):
            yield "a read gave what was not there", read


def _check_acknowledged(writes: Iterable[Write], applied: list[Applied]) -> Iterator[tuple[str, Write | Read]]:
    by_value: dict[str | None, list[Applied]] = {}
    for each in applied:
        by_value.setdefault(each.value, []).append(each)
    for write in writes:
        if not any(
            write.start <= each.received and each.done <= write.end for each in by_value.get(write.value, ())
        ):
            yield "an acknowledged write was not done", write


def _check_writes(history: History, states: _States) -> Iterator[tuple[str, Write | Read]]:
    yield from _check_acknowledged((each for each in history.writes if each.outcome == "ok"), history.applied)
    for write in history.writes:
        own = _own(write, states)
        if write.outcome == "not_applied" and own:
            yield "a write was done that was told as not applied", write
        if write.conditional and not all(states.allow(write.expected, each.sent, each.done) for each in own):
            yield "a write was done though its condition did not hold", write


def _own(write: Write, states: _States) -> list[Applied]:
    """Give what the call did: by its value, or for a deletion by when the requests came."""
    if write.value is not None:
        return states.of(write.value)
    return [each for each in states.of(None) if write.start <= each.received <= write.end]


def _start(event: Applied | Write | Read) -> float:
    return event.received if isinstance(event, Applied) else event.start


def _end(event: Applied | Write | Read) -> float:
    return event.done if isinstance(event, Applied) else event.end
