"""What one load asks of the services that bill by the request: the figures that docs/deploy/cost.md multiplies.

Fifty tables on the laptop's cloud, ten of which have a few rows to land in every load. Prints, for the first load and
for those that follow, requests to OneLake by the classes of its price list, events of the orchestration's history, and
seconds.

    .venv/bin/python -m benchmarks.deployment_cost
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

from devcloud.cloud import LaptopCloud
from devcloud.demo.client import Client
from devcloud.onelake.operations import Operation

PROJECT = Path(__file__).parents[1]

TABLES = 50
BUSY_TABLES = 10

# Reads its sixteen rows again in every load; the others find nothing new.
BUSY = "name: {name}\nhome: {{table: dbo.airlines}}\nwatermark: {{lag: 3650d}}\n"
QUIET = "name: {name}\nhome: {{table: dbo.airports}}\nwatermark: {{lag: null}}\n"

# Between two looks at a load: each look reads the progress files, which are not counted.
LOOK_SECONDS = 0.5


def write_project(directory: Path) -> None:
    """The sample project with fifty small tables instead of its five."""
    shutil.copy(PROJECT / "hygge.yml", directory)
    flow = directory / "flows" / "flights_to_fabric"
    (flow / "entities").mkdir(parents=True)
    text = (PROJECT / "flows" / "flights_to_fabric" / "flow.yml").read_text()
    (flow / "flow.yml").write_text("".join(line for line in text.splitlines(True) if not line.startswith("entities:")))
    for number in range(TABLES):
        name = f"table_{number:02}"
        entity = (BUSY if number < BUSY_TABLES else QUIET).format(name=name)
        (flow / "entities" / f"{name}.yml").write_text(entity)


def classify(operation: Operation) -> str:
    """The class of a request in OneLake's price list, which follows that of ADLS Gen2."""
    if "list" in operation.verb:
        return "iterative read"
    if operation.method == "GET":
        return "read"
    if operation.method in ("PUT", "PATCH") and operation.verb != "rename":
        return "write"
    return "iterative write" if operation.verb == "rename" else "other"


def measure(cloud: LaptopCloud, client: Client, title: str) -> None:
    """Run one load and print what it took."""
    cloud.lake.operations.clear()
    events, began = cloud.host.history_events, time.monotonic()
    load_id = client.post("/api/loads", {})["load_id"]
    while client.get(f"/api/loads/{load_id}")["state"] != "settled":
        time.sleep(LOOK_SECONDS)
    seconds = time.monotonic() - began
    summary = client.get(f"/api/loads/{load_id}")["summary"]
    made = [each for each in cloud.lake.operations.select() if not (each.method == "GET" and "/progress" in each.path)]
    counts = Counter(map(classify, made))
    print(f"{title}: {summary['entities']} tables, {summary['rows']} rows, {summary['status']}")
    print(f"  {seconds:.1f} s, {cloud.host.history_events - events} history events, {len(made)} requests to OneLake")
    print(f"  {', '.join(f'{count} {name}' for name, count in counts.most_common())}")


def main() -> None:
    """Two loads, and a third to see that it is like the second."""
    with tempfile.TemporaryDirectory() as directory:
        project = Path(directory) / "project"
        project.mkdir()
        write_project(project)
        with LaptopCloud(Path(directory) / "cloud", project) as cloud:
            client = Client(cloud.host.url, cloud.host.function_key)
            for title in ("first load", "next load", "one more"):
                measure(cloud, client, title)


if __name__ == "__main__":
    main()
