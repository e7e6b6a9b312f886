"""A process's metrics as plain values, which can cross a socket and be summed over processes."""

import binascii
from collections.abc import Iterable
from typing import Literal

import msgspec

Labels = tuple[tuple[str, str], ...]
Kind = Literal["counter", "gauge", "histogram"]
Merge = Literal["sum", "living", "each", "once"]
"""How processes' values of a family become one: added up, also those of dead processes; added up for living
processes only; kept apart by the label `worker`; the same in all of them."""


class Family(msgspec.Struct, array_like=True):
    """Hold one metric with the values of all its label sets.

    A counter and a gauge have one value; a histogram the counts of its buckets, the last without a bound, and
    then the sum.
    """

    name: str
    description: str
    kind: Kind
    merge: Merge
    bounds: tuple[float, ...]
    series: list[tuple[Labels, list[float]]]


_DECODER = msgspec.msgpack.Decoder(list[Family])


def to_line(families: list[Family]) -> bytes:
    """Encode families as one line; MessagePack inside, because JSON has no infinity."""
    return binascii.b2a_base64(msgspec.msgpack.encode(families))


def from_line(line: bytes) -> list[Family]:
    """Decode what `to_line` gave."""
    return _DECODER.decode(binascii.a2b_base64(line))


def label_text(value: object) -> str:
    """Give a label's value, escaped where UTF-8 could not carry it."""
    text = value if isinstance(value, str) else str(value)
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def merged(processes: Iterable[tuple[str | None, list[Family]]]) -> list[Family]:
    """Make one list of families of several processes', each with its label `worker`, None for a dead one."""
    wholes: dict[str, _Whole] = {}
    for worker, families in processes:
        for family in families:
            whole = wholes.setdefault(family.name, _Whole(family))
            if whole.fits(family):  # else the program declares a name in two ways: the first one counts
                whole.take(family, worker)
    return [whole.family() for whole in wholes.values()]


class _Whole:
    """Sum up one family."""

    def __init__(self, like: Family) -> None:
        self._like = like
        self._series: dict[Labels, list[float]] = {}

    def fits(self, family: Family) -> bool:
        like = self._like
        return (family.kind, family.merge, family.bounds) == (like.kind, like.merge, like.bounds)

    def take(self, family: Family, worker: str | None) -> None:
        if worker is None and family.merge != "sum":
            return
        for labels, values in family.series:
            if family.merge == "each":
                self._series[*labels, ("worker", str(worker))] = values
            elif family.merge == "once" or labels not in self._series:
                self._series[labels] = values
            else:
                self._series[labels] = [a + b for a, b in zip(self._series[labels], values, strict=True)]

    def family(self) -> Family:
        return msgspec.structs.replace(self._like, series=list(self._series.items()))
