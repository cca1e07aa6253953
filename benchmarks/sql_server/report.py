"""Results as tables and a plot, in docs/performance.md: what stands between two marks there is this command's."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from benchmarks.document import measured_by, replace_part
from benchmarks.sql_server.idle import TABLES as IDLE_TABLES

_PLOT = "performance.svg"
_COLOURS = {
    "drain": "#b0b7bf",
    "arrow_reader": "#7a8794",
    "hygge": "#0b7a5b",
    "hygge_one_reader": "#5ba68f",
    "hygge_four_readers": "#5ba68f",
}
_OTHER = "#c98a4b"


@dataclass(frozen=True)
class Result:
    """All runs of one contender over one table, or why there is none."""

    table: str
    rows: int
    name: str
    label: str
    runs: Sequence[dict[str, float]]
    failure: str = ""

    def median(self, figure: str) -> float:
        return statistics.median(run[figure] for run in self.runs)

    @property
    def rows_per_second(self) -> float:
        return self.rows / self.median("seconds")


def write(document: Path, results: Sequence[Result], idle: Sequence[float], command: str) -> None:
    """Replace the document's part, and the plot beside it. Raises ValueError where it has no marks."""
    said = f"{measured_by(command)} Server, lake and reader shared these cores.\n\n"
    if results:
        said += f"![Rows per second and peak memory]({_PLOT})\n\n"
        _plot(document.with_name(_PLOT), results)
    replace_part(document, "make bench", said + tables(results, idle))


def tables(results: Sequence[Result], idle: Sequence[float]) -> str:
    """One Markdown table for each table and size."""
    parts = []
    if idle:
        seconds = statistics.median(idle)
        parts.append(
            f"### {IDLE_TABLES} tables with nothing new\n\n{seconds:.2f} s for the load, "
            f"{seconds / IDLE_TABLES:.3f} s for each table (median of {len(idle)} loads in one process, start-up and "
            "first load apart).\n"
        )
    for (table, rows), group in groupby(results, key=lambda result: (result.table, result.rows)):
        members = list(group)
        base = next((one.median("seconds") for one in members if one.name == "arrow_reader" and one.runs), None)
        runs = max(len(one.runs) for one in members)
        lines = [
            f"### {table}, {rows:,} rows",
            "",
            "One run each." if runs == 1 else f"Medians of {runs} alternations.",
            "",
            "| reader | rows/s | seconds | of arrow_reader | process, s | processor, s | peak MB |",
            "|---|--:|--:|--:|--:|--:|--:|",
        ]
        for one in members:
            if not one.runs:
                lines.append(f"| {one.label} | failed: {one.failure} | | | | | |")
                continue
            seconds = one.median("seconds")
            ratio = f"{seconds / base:.2f}" if base else ""
            lines.append(
                f"| {one.label} | {one.rows_per_second:,.0f} | {seconds:.2f} | {ratio} | "
                f"{one.median('process_seconds'):.2f} | {one.median('processor_seconds'):.2f} | "
                f"{one.median('peak_mb'):.0f} |"
            )
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _plot(path: Path, results: Sequence[Result]) -> None:
    """Bars of rows per second and of peak memory: a row of the figure for each table and size."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "hygge-engine", "svg.fonttype": "none", "font.size": 9}
    from matplotlib import pyplot

    groups = [list(group) for _, group in groupby(results, key=lambda result: (result.table, result.rows))]
    # Every bar as high as every other, whatever the number of readers.
    heights = [len([one for one in members if one.runs]) + 2 for members in groups]
    figure, axes = pyplot.subplots(
        len(groups),
        2,
        figsize=(10, 0.28 * sum(heights)),
        squeeze=False,
        layout="constrained",
        gridspec_kw={"height_ratios": heights},
    )
    for row, members in zip(axes, groups, strict=True):
        shown = [one for one in reversed(members) if one.runs]
        labels = [one.label for one in shown]
        colours = [_COLOURS.get(one.name, _OTHER) for one in shown]
        title = f"{members[0].table}, {members[0].rows:,} rows"
        speed = row[0].barh(labels, [one.rows_per_second for one in shown], color=colours)
        row[0].bar_label(speed, fmt="{:,.0f}", padding=3)
        row[0].set_title(f"{title}: rows/s", loc="left")
        memory = row[1].barh(labels, [one.median("peak_mb") for one in shown], color=colours)
        row[1].bar_label(memory, fmt="{:,.0f}", padding=3)
        row[1].set_title("peak MB", loc="left")
        row[1].set_yticks([])
        for axis in row:
            axis.spines[["top", "right", "bottom"]].set_visible(False)
            axis.set_xticks([])
            axis.margins(x=0.18)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
