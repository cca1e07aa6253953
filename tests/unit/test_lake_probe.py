"""The probe of a lake: one that honours conditions passes, one that ignores them is refused; nothing is left."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hygge_engine.checks import DoctorCheck
from hygge_engine.errors import LakeDenied, LakeUnavailable
from hygge_engine.lake.local import LocalLake
from hygge_engine.lake.probe import check_responds, clock_check, probe

ROOT = "item/Files/.hygge_journal"


class CarelessLake(LocalLake):
    """Ignores some conditions, as object stores and emulators do."""

    def __init__(self, root: Path, ignores: str) -> None:
        super().__init__(root)
        self.ignores = ignores

    def put(
        self, path: str, data: bytes, *, if_match: str | None = None, if_absent: bool = False, staged: str | None = None
    ) -> str:
        return super().put(
            path,
            data,
            if_match=None if self.ignores == "If-Match" else if_match,
            if_absent=if_absent and self.ignores != "If-None-Match",
        )

    def rename(self, source: str, destination: str) -> None:
        if self.ignores == "rename":
            self.delete(destination)
        super().rename(source, destination)


class ReadOnlyLake(LocalLake):
    """Whose credential may only read."""

    def put(
        self, path: str, data: bytes, *, if_match: str | None = None, if_absent: bool = False, staged: str | None = None
    ) -> str:
        raise LakeDenied("cannot replace it", status=403)


def results(checks: list[DoctorCheck]) -> dict[str, str]:
    return {check.name: check.result for check in checks}


def content(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if ".hygge_lake" not in str(path))


@pytest.mark.parametrize("existing", ["", "item/Files", ROOT])
def test_a_good_lake_passes_and_is_left_as_it_was(tmp_path: Path, existing: str) -> None:
    (tmp_path / existing).mkdir(parents=True, exist_ok=True)
    before = content(tmp_path)
    assert set(results(probe(LocalLake(tmp_path), ROOT)).values()) == {"ok"}
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    ("ignores", "check", "words"),
    [
        ("If-None-Match", "conditional write", "ignores If-None-Match: * on a write"),
        ("If-Match", "conditional write", "ignores If-Match with an old etag"),
        ("rename", "rename", "ignores If-None-Match: * on a rename"),
    ],
)
def test_a_lake_that_ignores_a_condition_is_refused(tmp_path: Path, ignores: str, check: str, words: str) -> None:
    checks = probe(CarelessLake(tmp_path, ignores), ROOT)
    (failed,) = [found for found in checks if found.result == "failed"]
    assert failed.name == check
    assert words in failed.found
    assert "hierarchical namespace" in failed.remedy
    assert content(tmp_path) == []


def test_a_lake_that_may_not_be_written_is_one_failure(tmp_path: Path) -> None:
    (tmp_path / "item").mkdir()
    (write, _) = probe(ReadOnlyLake(tmp_path), ROOT)
    assert (write.name, write.result, write.code) == ("write", "failed", "lake.denied")


def test_an_item_that_does_not_exist_is_said_to_be_missing(tmp_path: Path) -> None:
    (write, *_) = probe(ReadOnlyLake(tmp_path), ROOT)
    assert (write.result, write.code) == ("failed", "lake.not_found")
    assert "nothing exists at item" in write.found
    assert "mirror_name" in write.remedy


def test_clocks_that_disagree() -> None:
    now = datetime.now(UTC)
    assert clock_check("clock", now, "").result == "ok"
    assert clock_check("clock", now + timedelta(minutes=2), "").result == "warning"
    behind = clock_check("clock", now - timedelta(hours=1), "")
    assert behind.result == "failed"
    assert "behind this machine" in behind.found


def test_a_lake_that_nobody_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(LakeUnavailable, match=r"127\.0\.0\.1 on port 1"):
        check_responds("http://127.0.0.1:1")
