"""Whether the process that owns a table is still there, seen from another one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hygge_engine.errors import LandingBusy
from hygge_engine.lake.local import LocalLake
from hygge_engine.stores.landing.lake_lease import LakeTableLease
from hygge_engine.stores.landing.process import has_ended, this_process

REPOSITORY = Path(__file__).parents[2]

NAME = "from hygge_engine.stores.landing.process import this_process; print(this_process(), flush=True); input()"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells when a process was started")


def test_a_process_is_there_until_it_ends() -> None:
    command = [sys.executable, "-c", NAME]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        assert name != this_process()
        assert not has_ended(name)
        process.kill()
        process.wait()
        assert has_ended(name)
    assert not has_ended(this_process())


OWN = """
import sys
from pathlib import Path
from tests.unit.test_landing_process import attach
attach(Path(sys.argv[1]), "first").take_over()
print("mine", flush=True)
input()
"""


def attach(lake: Path, load_id: str) -> LakeTableLease:
    places = {"state_path": "state.json", "staging": "staging", "folder": "table"}
    return LakeTableLease(LocalLake(lake), **places, load_id=load_id, attempt=1).attach()


def test_what_a_killed_process_owned_is_free_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OWN, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "mine\n"
        with pytest.raises(LandingBusy, match="first"):
            attach(tmp_path, "second")
        process.kill()
        process.wait()
    attach(tmp_path, "second").take_over()


def test_a_number_that_is_used_again_is_another_process() -> None:
    assert has_ended(f"{this_process()}0")


@pytest.mark.parametrize("name", ["", "0f3e:4026531836/1:5", "nonsense"])
def test_of_another_machine_nothing_is_known(name: str) -> None:
    assert not has_ended(name)
