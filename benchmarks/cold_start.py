"""What a deployed app weighs, and how long its first caller waits: the figures of docs/deploy/cold-start.md.

Each round starts a Functions host with a fresh worker and asks for one route, from the start of the worker to the
answer: once with an app of the platform's own packages and one trivial route, once with this app. The difference is
what the engine adds to a cold start. Sizes are those of the packages that requirements.txt installs.

    .venv/bin/python -m benchmarks.cold_start [--rounds 7]
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from importlib.metadata import distributions
from pathlib import Path

import httpx

from devcloud.functions import FunctionsHost

ROOT = Path(__file__).parents[1]
PACKAGES = ROOT / ".venv-package"

# Packages smaller than this are summed up.
WORTH_A_LINE_MEGABYTES = 5.0

ANSWER_LIMIT_SECONDS = 60.0

TRIVIAL = """\
import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="hello", methods=["GET"])
def hello(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("hello")
"""

SETTINGS = {
    "HYGGE_SCHEDULE": "0 0 0 1 1 *",
    "SQL_SERVER": "sql.example.com",
    "WORKSPACE_ID": "11111111-1111-1111-1111-111111111111",
    "MIRROR_ID": "22222222-2222-2222-2222-222222222222",
    # What the worker writes while it imports would be read by the next one.
    "PYTHONDONTWRITEBYTECODE": "1",
}


def children_seconds() -> float:
    """Processor time of all workers that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def first_answer(app: Path, route: str) -> tuple[float, float]:
    """Seconds from the start of a worker to its first answer, and its processor's seconds until it has ended."""
    with tempfile.TemporaryDirectory() as state:
        before = children_seconds()
        began = time.perf_counter()
        with FunctionsHost(app, Path(state), settings=SETTINGS) as host:
            answer = httpx.get(
                f"{host.url}/api/{route}",
                headers={"x-functions-key": host.function_key},
                timeout=ANSWER_LIMIT_SECONDS,
            )
            seconds = time.perf_counter() - began
            assert answer.status_code == 200, answer.text
        return seconds, children_seconds() - before


def measure(rounds: int) -> None:
    """Print medians of the first answers."""
    with tempfile.TemporaryDirectory() as folder:
        trivial = Path(folder)
        (trivial / "function_app.py").write_text(TRIVIAL)
        (trivial / "host.json").write_text('{"version": "2.0"}')
        cases = {"the platform's packages": (trivial, "hello"), "health": (ROOT, "health"), "flows": (ROOT, "flows")}
        figures: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
        # The first round warms the file system's cache.
        for number in range(rounds + 1):
            for name, (app, route) in cases.items():
                found = first_answer(app, route)
                if number:
                    figures[name].append(found)
    print(f"\nfirst answer of a fresh worker, medians of {rounds}\n")
    print(f"{'route':26}{'seconds':>9}{'processor, s':>14}{'beyond the platform: seconds':>30}{'processor, s':>14}")
    medians = {
        name: [statistics.median(column) for column in zip(*found, strict=True)] for name, found in figures.items()
    }
    base = medians["the platform's packages"]
    for name, (seconds, processor) in medians.items():
        print(f"{name:26}{seconds:9.2f}{processor:14.2f}{seconds - base[0]:30.2f}{processor - base[1]:14.2f}")


def weigh() -> None:
    """Print the size of each large package of the deployment, and of all."""
    sizes = {
        distribution.name: sum(
            path.stat().st_size
            for file in distribution.files or []
            if (path := Path(str(file.locate()))).is_file() and path.suffix != ".pyc"
        )
        / 1e6
        for distribution in distributions(path=[str(path) for path in PACKAGES.glob("lib/python3*/site-packages")])
    }
    own = sum(path.stat().st_size for path in (ROOT / "hygge_engine").rglob("*.py") if "cli" not in path.parts) / 1e6
    print(f"{'package':26}{'MB':>9}")
    for name, size in sorted(sizes.items(), key=lambda item: -item[1]):
        if size >= WORTH_A_LINE_MEGABYTES:
            print(f"{name:26}{size:9.1f}")
    small = [size for size in sizes.values() if size < WORTH_A_LINE_MEGABYTES]
    print(f"{f'{len(small)} others':26}{sum(small):9.1f}\n{'hygge_engine':26}{own:9.1f}")
    print(f"{'together':26}{sum(sizes.values()) + own:9.1f}")


def main() -> None:
    """Weigh, then measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    weigh()
    measure(arguments.rounds)


if __name__ == "__main__":
    main()
