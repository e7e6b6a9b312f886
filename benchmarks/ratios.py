"""The one kind of figure that a benchmark claims: the median, over the rounds, of the ratio within a round."""

import json
import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def median_ratio(own: Sequence[float], base: Sequence[float]) -> float:
    """Give the median of own to base, round by round."""
    return statistics.median(mine / other for mine, other in zip(own, base, strict=True))


def write(file: Path, question: str, rounds: int, figures: Any) -> None:
    """Write figures as JSON, with what a reader must know of the run."""
    run = {"python": platform.python_version(), "machine": platform.machine(), "cores": os.cpu_count()}
    result = {"question": question.partition("\n")[0], "rounds": rounds, **run, "figures": figures}
    file.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
