"""The soak's checker finds wrong histories, and accepts right ones; a checker that cannot fail proves nothing."""

from typing import Any

import pytest

from .soak.history import Applied, History, Outcome, Read, Write, check, check_counter


def applied(value: str | None, sent: float, done: float) -> Applied:
    return Applied(value, sent, sent, done)


def write(value: str | None, start: float, end: float, outcome: Outcome = "ok", **more: Any) -> Write:
    return Write("set", value, start, end, outcome, **more)


def read(value: str | None, start: float, end: float) -> Read:
    return Read("get", value, start, end)


def history(*events: Applied | Write | Read) -> History:
    return History(
        "k",
        [each for each in events if isinstance(each, Applied)],
        [each for each in events if isinstance(each, Write)],
        [each for each in events if isinstance(each, Read)],
    )


ONE, TWO = (applied("1", 1, 2), write("1", 0, 3)), (applied("2", 5, 6), write("2", 4, 7))


@pytest.mark.parametrize(
    "events",
    [
        (),
        (read(None, 0, 9),),
        (*ONE, read("1", 3, 4)),
        (*ONE, read(None, 1.5, 4)),
        (*ONE, *TWO, read("1", 0, 5.5), read("2", 5.5, 6), read("2", 8, 9)),
        (*ONE, *TWO, applied("1", 8, 9), read("1", 9, 10)),
        (write("1", 0, 1, "unknown"), read(None, 2, 3)),
        (write("1", 0, 1, "unknown"), applied("1", 4, 5), read("1", 6, 7)),
        (write("1", 0, 1, "not_applied"), read(None, 2, 3)),
        (*ONE, write(None, 3, 4), applied(None, 3, 4), read(None, 5, 6)),
        (*ONE, applied("2", 3, 4), write("2", 3, 5, expected="1", conditional=True)),
        (*ONE, applied(None, 3, 4), Write("delete_if", None, 3, 5, "ok", "1", conditional=True)),
        (applied("1", 1, 9), write("1", 0, 9.5), applied("2", 2, 3), write("2", 1, 4), read("1", 5, 6)),
    ],
)
def test_what_can_have_happened_is_accepted(events: tuple[Applied | Write | Read, ...]) -> None:
    """Calls at the same time may come in any order, and a late attempt may bring an old value back."""
    assert check(history(*events)) == []


@pytest.mark.parametrize(
    ("promise", "events"),
    [
        ("a read gave what was not there", (read("1", 0, 1),)),
        ("a read gave what was not there", (*ONE, read(None, 3, 4))),
        ("a read gave what was not there", (*ONE, read("1", 0, 0.5))),
        ("a read gave what was not there", (*ONE, *TWO, read("1", 7, 8))),
        ("a read gave what was not there", (*ONE, *TWO, applied("1", 8, 9), read("2", 9.5, 10))),
        ("an acknowledged write was not done", (write("1", 0, 1),)),
        ("an acknowledged write was not done", (write("1", 0, 1), applied("1", 0.5, 2))),
        ("an acknowledged write was not done", (write(None, 0, 1),)),
        ("a write was done that was told as not applied", (write("1", 0, 1, "not_applied"), applied("1", 0, 1))),
        ("a write was done that was told as not applied", (write("1", 0, 1, "not_applied"), applied("1", 5, 6))),
        ("a write was done that was told as not applied", (write(None, 0, 2, "not_applied"), applied(None, 1, 3))),
        (
            "a write was done though its condition did not hold",
            (*ONE, *TWO, applied("3", 8, 9), write("3", 8, 9, expected="1", conditional=True)),
        ),
        (
            "a write was done though its condition did not hold",
            (*ONE, applied("2", 3, 4), applied("2", 5, 6), write("2", 3, 7, expected="1", conditional=True)),
        ),
        (
            "a write was done though its condition did not hold",
            (*ONE, *TWO, applied(None, 8, 9), Write("delete_if", None, 8, 9, "unknown", "1", conditional=True)),
        ),
    ],
)
def test_what_cannot_have_happened_is_found(promise: str, events: tuple[Applied | Write | Read, ...]) -> None:
    """The broken promise is named, with the key and the call."""
    (violation,) = check(history(*events))
    assert violation.promise == promise
    assert str(violation).startswith(f"{promise}: key 'k', ")
    assert history(*events).around(0, 10)


COUNTED = (applied("1", 0, 1), write("1", 0, 1), applied("2", 2, 3), write("2", 2, 3))


@pytest.mark.parametrize(
    "events",
    [
        COUNTED,
        (*COUNTED, write(None, 4, 5, "unknown"), read("2", 5, 6)),
        (*COUNTED, write(None, 4, 5, "unknown"), applied("3", 7, 8), read("3", 9, 10)),
        (*COUNTED, write(None, 4, 5, "not_applied"), read("1", 0, 2.5)),
    ],
)
def test_right_counts_are_accepted(events: tuple[Applied | Write | Read, ...]) -> None:
    """Each acknowledged increment counts once, one in doubt once or not at all."""
    assert check_counter(history(*events)) == []


@pytest.mark.parametrize(
    ("promise", "events"),
    [
        ("an increment was lost, or done twice", (*COUNTED, applied("2", 4, 5), write("2", 4, 5))),
        ("an increment was lost, or done twice", (*COUNTED, applied("4", 4, 5), write("4", 4, 5))),
        ("the count is not that of the increments", (*COUNTED, write("2", 2, 3))),
        (
            "the count is not that of the increments",
            (*COUNTED, write(None, 4, 5, "not_applied"), applied("3", 4, 5)),
        ),
        ("an acknowledged write was not done", (*COUNTED[:3], write("2", 4, 5))),
        ("two increments gave one sum", (*COUNTED, applied("3", 4, 5), write("2", 2, 3))),
        ("a read gave what was not there", (*COUNTED, read("1", 4, 5))),
    ],
)
def test_wrong_counts_are_found(promise: str, events: tuple[Applied | Write | Read, ...]) -> None:
    """A lost increment, one done twice, and one that gives another's sum are found."""
    assert promise in [violation.promise for violation in check_counter(history(*events))]
