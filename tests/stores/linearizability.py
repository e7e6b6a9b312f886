"""Whether what concurrent callers of one key saw can have happened in some order (Wing and Gong, 1993).

An operation takes effect at one moment between its call and its return. One that was cancelled, or whose outcome
is unknown, may also take effect later, or never. The search goes through the possible orders, and through each set
of operations done with each state only once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

State = str | None
"""The value of the key, None where it is absent."""


@dataclass(frozen=True)
class Operation:
    """What a caller did with a key, from when to when.

    `apply` returns the state after it; it raises Impossible where the caller cannot have met the state before.
    """

    name: str
    apply: Callable[[State], State]
    called: float
    returned: float = inf
    is_certain: bool = True


class Impossible(Exception):
    """Raised when an operation cannot have been done in a state."""


def explains(operations: list[Operation], state: State = None) -> bool:
    """Return whether there is an order of the operations in which each saw what it saw."""
    todo = [(frozenset(range(len(operations))), state)]
    seen = set(todo)
    while todo:
        left, state = todo.pop()
        if not any(operations[number].is_certain for number in left):
            return True
        first_return = min(operations[number].returned for number in left)
        for number in left:
            if operations[number].called > first_return:
                continue  # another one had returned before it was called
            try:
                following = (left - {number}, operations[number].apply(state))
            except Impossible:
                continue
            if following not in seen:
                seen.add(following)
                todo.append(following)
    return False
