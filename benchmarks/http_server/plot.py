"""Draw the JSON that bench.py wrote: the first argument is its file, the second that of the PNG.

It runs in the peers' environment, which has matplotlib.
"""

import json
import sys
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

OURS, OTHERS = "#1f6f8b", "#b8bfc6"


def main() -> None:
    """Draw one panel of horizontal bars for each workload."""
    result, image = Path(sys.argv[1]), sys.argv[2]
    tables: list[dict[str, Any]] = json.loads(result.read_text(encoding="utf-8"))["figures"]
    sizes = [len(table["contenders"]) for table in tables]
    figure = Figure(figsize=(9, 1.1 * len(sizes) + 0.28 * sum(sizes)), layout="constrained")
    panels = figure.subplots(len(sizes), 1, squeeze=False, gridspec_kw={"height_ratios": [n + 1 for n in sizes]})
    for panel, table in zip(panels[:, 0], tables, strict=True):
        panel.set_title(table["workload"], loc="left", fontsize=11, fontweight="bold")
        _draw(panel, table["contenders"])
    figure.supxlabel("requests per second, as a ratio to the bare ASGI function of the same run (more is better)")
    figure.savefig(image, dpi=150)


def _draw(panel: Any, rows: list[dict[str, Any]]) -> None:
    names = [row["name"] for row in rows]
    colours = [OURS if name.startswith("Kvik") else OTHERS for name in names]
    bars = panel.barh(names, [row["requests"] for row in rows], color=colours)
    panel.bar_label(bars, fmt="%.2f", padding=3)
    panel.axvline(1, color="black", linewidth=0.8, linestyle=":")
    panel.invert_yaxis()
    panel.margins(x=0.1)
    panel.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main()
