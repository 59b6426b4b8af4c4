"""The plots of docs/benchmarks.md, drawn by matplotlib from the results of a run.

``python -m benchmarks.plots`` draws them again from ``results/latest.json``. matplotlib is in the dependency group
``bench``, which ``make bench`` installs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Okabe and Ito's colours, which colour-blind readers can distinguish; each server has the same colour and position in
#: every plot.
COLOURS = {
    "ours": "#0072B2",
    "tusd": "#D55E00",
    "node": "#E69F00",
    "tuspyserver": "#009E73",
    "resumable-upload": "#CC79A7",
    "raw": "#999999",
    "floor": "#56B4E9",
}
# Legible on white and on black: WCAG's contrast ratio is above 4 on both.
_INK = "#7B7B7B"
_PANEL_INCHES = 3.3
_BAR_INCHES = 0.27


@dataclass(frozen=True)
class Panel:
    """One metric of one scenario."""

    scenario: str
    metric: str
    title: str
    digits: int = 0


@dataclass(frozen=True)
class Plot:
    """One image: the name of its file, its alternative text, and its panels."""

    name: str
    caption: str
    panels: Sequence[Panel]


PLOTS = (
    Plot(
        "requests",
        "Small requests per second on one core; longer is better.",
        (
            Panel("creations", "per_second", "creations per second"),
            Panel("small-uploads", "per_second", "uploads of 4 KiB per second"),
            Panel("heads", "per_second", "HEADs per second"),
        ),
    ),
    Plot(
        "speed",
        "Large bodies, MB/s on one core; longer is better.",
        (
            Panel("big-patch", "megabytes_per_second", "one PATCH of 512 MiB"),
            Panel("chunks", "megabytes_per_second", "PATCHes of 8 MiB"),
            Panel("parallel", "megabytes_per_second", "32 uploads at once"),
            Panel("download", "megabytes_per_second", "one GET of 512 MiB"),
        ),
    ),
    Plot(
        "cpu",
        "Server CPU, seconds per GiB; shorter is better.",
        (
            Panel("big-patch", "server_cpu_seconds_per_gib", "one PATCH of 512 MiB", 2),
            Panel("chunks", "server_cpu_seconds_per_gib", "PATCHes of 8 MiB", 2),
            Panel("parallel", "server_cpu_seconds_per_gib", "32 uploads at once", 2),
            Panel("download", "server_cpu_seconds_per_gib", "one GET of 512 MiB", 2),
        ),
    ),
    Plot(
        "memory",
        "Memory of the server, MiB; shorter is better.",
        (
            Panel("big-patch", "peak_resident_mib", "peak during one PATCH of 512 MiB"),
            Panel("parallel", "peak_resident_mib", "peak during 32 uploads at once"),
            Panel("slow-uploads", "added_resident_mib", "added by 1,000 slow uploads"),
        ),
    ),
)


def bars(data: Mapping[str, Any], panel: Panel) -> list[tuple[str, float, float, float]]:
    """Name, median, lowest and highest round of each server that has this figure, in the order of ``COLOURS``."""
    by_server = data["scenarios"].get(panel.scenario, {})
    found = []
    for server in COLOURS:
        figures = by_server.get(server, {}).get("figures", {}).get(panel.metric, {})
        if figures.get("median") is not None and not by_server[server]["failure"]:
            found.append((server, figures["median"], min(figures["rounds"]), max(figures["rounds"])))
    return found


def draw(data: Mapping[str, Any], directory: Path) -> list[Path]:
    """Draw every plot of ``Report.as_data`` into ``directory`` as SVG; return the files."""
    directory.mkdir(exist_ok=True)
    return [_draw(data, plot, directory / f"{plot.name}.svg") for plot in PLOTS]


def label(data: Mapping[str, Any], server: str) -> str:
    """The label of a server's bar: its title without the version and what follows it."""
    title = str(data["servers"].get(server, server))
    return re.split(r" (?=\d)", title, maxsplit=1)[0]


def _draw(data: Mapping[str, Any], plot: Plot, path: Path) -> Path:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    panels = [panel for panel in plot.panels if bars(data, panel)] or plot.panels[:1]
    rows = max(len(bars(data, panel)) for panel in panels)
    style = {"svg.fonttype": "none", "svg.hashsalt": plot.name, "font.size": 9, "font.family": "sans-serif"}
    style |= dict.fromkeys(("text.color", "axes.edgecolor", "xtick.color", "ytick.color", "axes.titlecolor"), _INK)
    with rc_context(style):
        columns = len(panels)
        figure = Figure(figsize=(_PANEL_INCHES * columns, 0.9 + _BAR_INCHES * rows), layout="constrained")
        for axes, panel in zip(figure.subplots(1, columns, squeeze=False)[0], panels, strict=True):
            _draw_panel(axes, data, panel)
        # Without the date the same figures produce the same file.
        figure.savefig(path, transparent=True, metadata={"Date": None, "Title": plot.caption})
    return path


def _draw_panel(axes: Any, data: Mapping[str, Any], panel: Panel) -> None:
    found = bars(data, panel)
    medians = [median for _, median, _, _ in found]
    spread = [[median - low for _, median, low, _ in found], [high - median for _, median, _, high in found]]
    names = [label(data, server) for server, *_ in found]
    colours = [COLOURS[server] for server, *_ in found]
    drawn = axes.barh(names, medians, xerr=spread, color=colours, ecolor=_INK, height=0.7)
    axes.bar_label(drawn, [f"{median:,.{panel.digits}f}" for median in medians], padding=4)
    axes.invert_yaxis()
    axes.set_title(panel.title, fontsize=9, loc="left")
    axes.set_xlim(0, max((high for *_, high in found), default=1) * 1.25)
    axes.xaxis.set_visible(False)
    axes.tick_params(length=0)
    axes.spines[["top", "right", "bottom"]].set_visible(False)


def main() -> None:
    """Draw the plots of the last whole run."""
    here = Path(__file__).parent
    results = json.loads((here / "results" / "latest.json").read_text())
    for path in draw(results, here.parent / "docs" / "benchmarks"):
        print(path.relative_to(here.parent))


if __name__ == "__main__":
    main()
