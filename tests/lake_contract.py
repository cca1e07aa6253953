"""What every lake promises, whatever it stands on. A test module subclasses `LakeContract` and gives it a lake."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hygge_engine.errors import LakeConditionNotMet, LakeConflict, LakeError, LakeNotFound
from hygge_engine.lake import base
from hygge_engine.lake.base import Lake, Staged


def stage(lake: Lake, path: str, data: bytes) -> Staged:
    writer = lake.stage(path)
    writer.write(data)
    return writer.finish()


def outcomes(attempts: list[Callable[[], object]]) -> list[type[BaseException] | None]:
    """Run calls at the same time; what each raised, None where it went well."""
    barrier = threading.Barrier(len(attempts))

    def run(attempt: Callable[[], object]) -> type[BaseException] | None:
        barrier.wait()
        try:
            attempt()
        except LakeError as error:
            return type(error)
        return None

    with ThreadPoolExecutor(len(attempts)) as threads:
        return list(threads.map(run, attempts))


class LakeContract:
    """Needs a fixture ``lake``: an empty lake in which ``area`` may be used freely."""

    area = "area"

    def path(self, name: str) -> str:
        return f"{self.area}/{name}"

    def test_a_file_that_is_too_large_for_a_document_is_not_read(
        self, lake: Lake, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lake.put(self.path("large.json"), b"x" * 101)
        lake.put(self.path("small.json"), b"x" * 100)
        monkeypatch.setattr(base, "READ_LIMIT_BYTES", 100)
        assert len(lake.read(self.path("small.json")).data) == 100
        with pytest.raises(LakeError, match="has 101 bytes"):
            lake.read(self.path("large.json"))

    def test_a_file_is_read_back_with_its_etag(self, lake: Lake) -> None:
        etag = lake.put(self.path("a/b.json"), b"one")
        content = lake.read(self.path("a/b.json"))
        assert (content.data, content.etag) == (b"one", etag)
        info = lake.info(self.path("a/b.json"))
        assert info is not None
        assert (info.name, info.length, info.etag, info.is_directory) == ("b.json", 3, etag, False)

    def test_a_part_of_a_file_is_read_as_long_as_the_file_is_the_same(self, lake: Lake) -> None:
        etag = lake.put(self.path("parts"), b"0123456789")
        assert lake.read_range(self.path("parts"), 3, 4, if_match=etag) == b"3456"
        listed = next(entry for entry in lake.list(self.area) if entry.name == "parts")
        assert lake.read_range(self.path("parts"), 9, 1, if_match=listed.etag) == b"9"
        lake.put(self.path("parts"), b"9876543210")
        with pytest.raises(LakeConditionNotMet):
            lake.read_range(self.path("parts"), 3, 4, if_match=etag)
        lake.delete(self.path("parts"))
        with pytest.raises(LakeNotFound):
            lake.read_range(self.path("parts"), 3, 4, if_match=etag)

    def test_a_missing_file_is_told_apart_from_an_empty_one(self, lake: Lake) -> None:
        lake.put(self.path("empty"), b"")
        assert lake.read(self.path("empty")).data == b""
        assert lake.info(self.path("missing")) is None
        with pytest.raises(LakeNotFound):
            lake.read(self.path("missing"))
        with pytest.raises(LakeNotFound):
            lake.read(self.path("empty/below-a-file"))

    def test_the_etag_changes_with_every_replacement(self, lake: Lake) -> None:
        etags = [lake.put(self.path("state"), bytes([65 + turn % 2])) for turn in range(40)]
        assert len(set(etags)) == len(etags)

    def test_a_replacement_needs_the_etag_that_was_read(self, lake: Lake) -> None:
        first = lake.put(self.path("state"), b"1")
        second = lake.put(self.path("state"), b"2", if_match=first)
        with pytest.raises(LakeConditionNotMet):
            lake.put(self.path("state"), b"3", if_match=first)
        assert lake.read(self.path("state")).data == b"2"
        lake.put(self.path("state"), b"3", if_match=second)
        with pytest.raises(LakeConditionNotMet):
            lake.put(self.path("missing"), b"1", if_match=second)
        assert lake.info(self.path("missing")) is None

    def test_a_file_that_must_be_absent_is_not_replaced(self, lake: Lake) -> None:
        lake.put(self.path("run"), b"1", if_absent=True)
        with pytest.raises(LakeConditionNotMet):
            lake.put(self.path("run"), b"2", if_absent=True)
        assert lake.read(self.path("run")).data == b"1"

    def test_of_many_conditional_writers_exactly_one_wins(self, lake: Lake) -> None:
        def replace(etag: str | None, value: int) -> Callable[[], object]:
            if etag is None:
                return lambda: lake.put(self.path("race"), b"%d" % value, if_absent=True)
            return lambda: lake.put(self.path("race"), b"%d" % value, if_match=etag)

        found = outcomes([replace(None, value) for value in range(8)])
        assert sorted(found, key=str).count(None) == 1
        assert set(found) == {None, LakeConditionNotMet}
        etag = lake.read(self.path("race")).etag
        found = outcomes([replace(etag, value) for value in range(8)])
        assert found.count(None) == 1

    def test_a_counter_loses_no_increment(self, lake: Lake) -> None:
        lake.put(self.path("counter"), b"0")

        def increment() -> None:
            for _ in range(5):
                while True:
                    content = lake.read(self.path("counter"))
                    try:
                        lake.put(self.path("counter"), b"%d" % (int(content.data) + 1), if_match=content.etag)
                        break
                    except LakeConditionNotMet:
                        continue

        assert outcomes([increment] * 4) == [None] * 4
        assert lake.read(self.path("counter")).data == b"20"

    def test_a_staged_file_tells_its_length_and_hash(self, lake: Lake) -> None:
        data = bytes(range(256)) * 1000
        writer = lake.stage(self.path("staging/1.bin"))
        assert writer.write(data[:100]) == 100
        assert writer.write(memoryview(data)[100:]) == len(data) - 100
        assert writer.tell() == len(data)
        staged = writer.finish()
        expected = Staged(self.path("staging/1.bin"), len(data), hashlib.sha256(data).hexdigest())
        assert staged == expected
        assert lake.read(staged.path).data == data

    def test_staging_again_begins_anew(self, lake: Lake) -> None:
        stage(lake, self.path("staging/1.bin"), b"a longer file of an attempt that died")
        stage(lake, self.path("staging/1.bin"), b"short")
        assert lake.read(self.path("staging/1.bin")).data == b"short"

    def test_an_abandoned_file_is_gone(self, lake: Lake) -> None:
        writer = lake.stage(self.path("staging/1.bin"))
        writer.write(b"half")
        writer.abandon()
        writer.abandon()
        assert lake.info(self.path("staging/1.bin")) is None

    def test_parquet_is_written_straight_into_a_staged_file(self, lake: Lake) -> None:
        table = pa.table({"id": list(range(1000)), "name": [f"row {number}" for number in range(1000)]})
        writer = lake.stage(self.path("staging/1.parquet"))
        with pq.ParquetWriter(cast(Any, writer), table.schema) as parquet:
            for batch in table.to_batches(max_chunksize=100):
                parquet.write_batch(batch)
        staged = writer.finish()
        assert pq.read_table(io.BytesIO(lake.read(staged.path).data)).equals(table)

    def test_a_rename_moves_a_file_with_its_content(self, lake: Lake) -> None:
        stage(lake, self.path("staging/1.bin"), b"rows")
        lake.make_directory(self.path("table"))
        lake.rename(self.path("staging/1.bin"), self.path("table/1.bin"))
        assert lake.read(self.path("table/1.bin")).data == b"rows"
        assert lake.info(self.path("staging/1.bin")) is None

    def test_a_rename_replaces_nothing(self, lake: Lake) -> None:
        lake.put(self.path("staged"), b"mine")
        lake.put(self.path("final"), b"somebody else's")
        with pytest.raises(LakeConflict):
            lake.rename(self.path("staged"), self.path("final"))
        assert lake.read(self.path("final")).data == b"somebody else's"
        assert lake.read(self.path("staged")).data == b"mine"

    def test_a_rename_needs_its_source(self, lake: Lake) -> None:
        lake.make_directory(self.path("table"))
        with pytest.raises(LakeNotFound):
            lake.rename(self.path("missing"), self.path("table/1.bin"))
        assert lake.info(self.path("table/1.bin")) is None

    def test_of_many_renames_onto_one_name_exactly_one_wins(self, lake: Lake) -> None:
        for number in range(6):
            lake.put(self.path(f"staged-{number}"), b"%d" % number)

        def move(number: int) -> Callable[[], object]:
            return lambda: lake.rename(self.path(f"staged-{number}"), self.path("final"))

        found = outcomes([move(number) for number in range(6)])
        assert found.count(None) == 1
        assert set(found) == {None, LakeConflict}
        left = [entry for entry in lake.list(self.area) if entry.name.startswith("staged-")]
        assert len(left) == 5

    def test_a_listing_is_in_name_order(self, lake: Lake) -> None:
        for name in ("c.json", "a/2.json", "a/1.json", "b.json"):
            lake.put(self.path(name), name.encode())
        entries = list(lake.list(self.area))
        assert [(entry.path, entry.is_directory) for entry in entries] == [
            (self.path("a"), True),
            (self.path("b.json"), False),
            (self.path("c.json"), False),
        ]
        assert entries[1].length == len("b.json")
        names = [entry.path.removeprefix(f"{self.area}/") for entry in lake.list(self.area, recursive=True)]
        assert names == ["a", "a/1.json", "a/2.json", "b.json", "c.json"]
        assert list(lake.list(self.path("missing"))) == []

    def test_a_listing_has_a_bound_and_who_wants_some_has_some(
        self, lake: Lake, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(base, "LISTED_LIMIT", 5)
        for number in range(5):
            lake.put(self.path(f"flat/{number}"), b"")
        assert len(list(lake.list(self.path("flat")))) == 5
        lake.put(self.path("flat/5"), b"")
        for folder, recursive in ((self.path("flat"), False), (self.area, True)):
            assert list(islice(lake.list(folder, recursive=recursive), 3))
            with pytest.raises(LakeError, match="holds more than 5 files and folders, the limit for one listing"):
                list(lake.list(folder, recursive=recursive))

    def test_listing_and_reading_agree_on_the_etag(self, lake: Lake) -> None:
        etag = lake.put(self.path("runs/1.json"), b"1")
        assert [entry.etag for entry in lake.list(self.path("runs"))] == [etag]

    def test_a_folder_keeps_its_etag_while_files_come_and_go(self, lake: Lake) -> None:
        lake.make_directory(self.path("table"))
        before = lake.info(self.path("table"))
        lake.put(self.path("table/1"), b"1")
        lake.make_directory(self.path("table"))
        after = lake.info(self.path("table"))
        assert before is not None
        assert after is not None
        assert before.is_directory
        assert before.etag == after.etag

    def test_deleting_says_whether_there_was_something(self, lake: Lake) -> None:
        lake.put(self.path("file"), b"1")
        assert lake.delete(self.path("file")) is True
        assert lake.delete(self.path("file")) is False
        lake.put(self.path("folder/sub/file"), b"1")
        assert lake.delete_directory(self.path("folder")) is True
        assert lake.delete_directory(self.path("folder")) is False
        assert lake.info(self.path("folder/sub/file")) is None

    def test_a_folder_is_deleted_only_if_it_is_the_one_that_was_read(self, lake: Lake) -> None:
        lake.put(self.path("table/1"), b"1")
        folder = lake.info(self.path("table"))
        assert folder is not None
        with pytest.raises(LakeConditionNotMet):
            lake.delete_directory(self.path("table"), if_match=f"{folder.etag}0")
        assert lake.read(self.path("table/1")).data == b"1"
        assert lake.delete_directory(self.path("table"), if_match=folder.etag)

    def test_a_folder_that_is_made_again_is_another_one(self, lake: Lake) -> None:
        lake.make_directory(self.path("table"))
        folder = lake.info(self.path("table"))
        assert folder is not None
        lake.delete_directory(self.path("table"))
        lake.make_directory(self.path("table"))
        with pytest.raises(LakeConditionNotMet):
            lake.delete_directory(self.path("table"), if_match=folder.etag)
        assert lake.info(self.path("table")) is not None

    def test_the_clock_knows_its_time_zone(self, lake: Lake) -> None:
        lake.put(self.path("file"), b"1")
        info = lake.info(self.path("file"))
        assert info is not None
        for found in (info, *lake.list(self.area)):
            assert abs((lake.now() - found.modified).total_seconds()) < 60
