"""Figures of a benchmark: the one kind that it claims, and the two ways to show them.

A claim is the median, over the rounds of a run, of the ratio of two things that were measured in the same round.
"""

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_NARROWEST = 7


def median_ratio(own: Sequence[float], base: Sequence[float]) -> float:
    """Give the median of own to base, round by round."""
    return statistics.median(mine / other for mine, other in zip(own, base, strict=True))


def show(title: str, columns: Mapping[str, tuple[str, str]], rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows, which have a name, under columns: of each the header, the key of its figure, and the format."""
    first = max(len(title), *(len(row["name"]) for row in rows))
    print(f"\n{title:<{first}}", *(f"{header:>{_NARROWEST}}" for header in columns), sep="  ")
    for row in rows:
        cells = (
            (format(row[key], how) if key in row else "").rjust(max(_NARROWEST, len(header)))
            for header, (key, how) in columns.items()
        )
        print(f"{row['name']:<{first}}", *cells, sep="  ")


def write(file: Path | None, question: str, rounds: int, figures: Any) -> None:
    """Write figures as JSON, with what a reader must know of the run; without a file, do nothing."""
    if file is None:
        return
    run = {"python": platform.python_version(), "machine": platform.machine(), "cores": os.cpu_count()}
    result = {"question": question.partition("\n")[0], "rounds": rounds, **run, "figures": figures}
    file.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
