"""What a soak measures: levels that should not rise, and times that should not grow."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

PAGE_BYTES = 4096

# The beginning and the end of a series, between which it may have grown: a fifth of it each, past the first of them,
# in which everything is imported and every cache filled.
PARTS = 5


class Figures:
    """Levels by name, each at a time (seconds), and times that requests took."""

    def __init__(self) -> None:
        self._levels: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
        self._took: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)

    def level(self, name: str, at: float, value: float) -> None:
        """Note a level."""
        self._levels[name].append((at, value))

    def took(self, name: str, at: float, seconds: float) -> None:
        """Note how long a request took."""
        self._took[name].append((at, seconds))

    def lines(self) -> list[str]:
        """A table of what has grown, and one of how long requests took."""
        head = f"{'':34}{'early':>12}{'late':>12}{'an hour':>12}"
        grown = [_growth(name, series) for name, series in sorted(self._levels.items())]
        latency = f"{'':34}{'p50':>12}{'p95':>12}{'most':>12}{'p95 an hour':>12}{'requests':>12}"
        return [head, *grown, "", latency, *(_latencies(name, each) for name, each in sorted(self._took.items()))]


def _growth(name: str, series: Sequence[tuple[float, float]]) -> str:
    size = max(1, len(series) // PARTS)
    early, late = series[size : 2 * size] or series[:size], series[-size:]
    values = [statistics.median(value for _, value in part) for part in (early, late)]
    hours = (statistics.mean(at for at, _ in late) - statistics.mean(at for at, _ in early)) / 3600
    rate = (values[1] - values[0]) / hours if hours else 0.0
    return f"{name:34}{values[0]:>12,.1f}{values[1]:>12,.1f}{rate:>+12,.1f}"


def _latencies(name: str, series: Sequence[tuple[float, float]]) -> str:
    times = [seconds for _, seconds in series]
    half = len(series) // 2
    early, late = _p95(times[:half] or times), _p95(times[half:])
    hours = (series[-1][0] - series[0][0]) / 2 / 3600
    rate = (late - early) / hours if hours else 0.0
    cells = [statistics.median(times), _p95(times), max(times)]
    return f"{name + ', s':34}" + "".join(f"{cell:>12.3f}" for cell in cells) + f"{rate:>+12.1f}{len(times):>12,}"


def _p95(times: Sequence[float]) -> float:
    return sorted(times)[min(len(times) - 1, int(len(times) * 0.95))]


def resident_megabytes(pid: int) -> float | None:
    """The memory of a process, None where it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return None
    return pages * PAGE_BYTES / 1e6


def files_below(folder: Path) -> int:
    """How many files there are below a folder."""
    return sum(path.is_file() for path in folder.rglob("*"))
