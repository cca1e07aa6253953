"""The landing state stays a small document, however many slices a load takes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from hygge_engine.flow.reach import gap_after
from hygge_engine.homes.base import HighWater
from hygge_engine.row_counts import UNKNOWN, RowCounts
from hygge_engine.stores.landing.state import Division, Finished, LandingState, OpenLoad, Snapshot, StagedFile
from hygge_engine.stores.landing.transitions import committed, counted, next_generation
from hygge_engine.watermark import Watermark

ITEM = "0f6d4b3c-1f46-4e0e-9d39-3f7e9e4d8d11/Files"
SLICES = 1_000


@pytest.mark.parametrize("published", [False, True])
def test_a_reload_of_a_thousand_slices_has_a_state_of_less_than_a_mebibyte(published: bool) -> None:
    staging, zone = f"{ITEM}/.hygge_journal/staging/{'f' * 100}/{'e' * 100}", f"{ITEM}/LandingZone/s.schema/{'e' * 100}"
    files = tuple(
        StagedFile(
            f"{staging}/{epoch:08d}-0001-00001.parquet",
            2**40,
            "f" * 64,
            10**9,
            f"{zone}/{epoch:020d}.parquet" if published else "",
        )
        for epoch in range(1_800_000_000, 1_800_000_000 + SLICES)
    )
    opened = OpenLoad("load", "reload", "staging", "2026-11-30T00:00:00+00:00")
    opened = OpenLoad(**vars(opened) | ({"intent": files} if published else {"staged": files}))
    document = LandingState(open=opened).to_json("nonce")
    assert len(document) < 2**20
    assert LandingState.from_json(document, "here")[0].open == opened


@pytest.mark.parametrize(
    ("stored", "of_adopted_load"),
    [({}, False), ({"partial": False}, False), ({"partial": True}, True)],
    ids=["before loads were adopted", "own", "adopted"],
)
def test_whose_load_has_ended_is_read_from_every_versions_document(
    stored: dict[str, bool], of_adopted_load: bool
) -> None:
    ended = {"load_id": "load", "mode": "changes", "rows": 3, "bytes": 40, "files": 1}
    document = json.loads(LandingState().to_json("nonce")) | {"finished": ended | stored}
    found = LandingState.from_json(json.dumps(document).encode(), "here")[0]
    assert found.finished == Finished("load", "changes", 3, 40, 1, of_adopted_load)
    written = json.loads(found.to_json("nonce"))["finished"]
    assert written["partial"] is of_adopted_load, "an earlier version has to read it as well"
    assert "of_adopted_load" not in written


def test_who_began_a_load_and_when_a_table_was_handed_over_are_read_by_every_version() -> None:
    opened = OpenLoad("load", "changes", "landing", "2026-11-30T00:00:00+00:00", continued=True)
    kept = OpenLoad("before", "changes", "landing", "2026-11-29T00:00:00+00:00")
    state = LandingState(handed_over_at="2026-11-28T00:00:00+00:00", open=opened, set_aside=kept)
    document = json.loads(state.to_json("nonce"))
    assert document["adopted"] == "2026-11-28T00:00:00+00:00", "an earlier version has to read it as well"
    assert (document["open"]["adopted"], document["set_aside"]["adopted"]) == (True, False)
    assert not {"handed_over_at", "continued"} & {*document, *document["open"], *document["set_aside"]}
    unknown = {"snapshot", "made_of", "difference", "digests", "folded"}
    assert not unknown & {*document, *document["open"], *document["set_aside"]}, "nobody has asked for a difference"
    assert LandingState.from_json(json.dumps(document).encode(), "here")[0] == state
    for where in (document, document["open"], document["set_aside"]):
        del where["adopted"]  # as the first versions wrote it
    found = LandingState.from_json(json.dumps(document).encode(), "here")[0]
    assert found == replace(state, handed_over_at="", open=replace(opened, continued=False))


def test_which_table_was_tracked_is_carried_by_every_version_and_told_by_no_earlier_one() -> None:
    mark = Watermark("change_tracking", "version", "7", since="3", table="object_id 5, created 2026-11-30T00:00:00")
    opened = OpenLoad("load", "changes", "landing", "", upper=mark)
    state = LandingState(watermark=mark, open=opened, set_aside=opened)
    document = json.loads(state.to_json("nonce"))
    known = {"column", "type", "value", "ties", "boundary", "since", "order", "later", "clock"}
    for part in (document["watermark"], document["open"]["upper"], document["set_aside"]["upper"]):
        assert part.keys() == known, "an earlier version has to read it as well"
        assert part["later"] == 0, "or it would look for rows after the clock"
    assert LandingState.from_json(json.dumps(document).encode(), "here")[0] == state
    document["watermark"]["clock"] = ""
    earlier = LandingState.from_json(json.dumps(document).encode(), "here")[0].watermark
    assert earlier == replace(mark, table="")
    high = HighWater("9", "version", oldest="3", since="3", table="object_id 6, created 2026-11-30T00:00:00")
    assert gap_after("dbo.items", high, earlier) is None, "what is unknown is no other table"
    assert gap_after("dbo.items", replace(high, table=""), mark) is None
    assert gap_after("dbo.items", high, mark) is not None
    timed = LandingState(watermark=Watermark("at", "datetime", "2026-11-30T00:00:00", later=2, clock="2026-11-29"))
    found = LandingState.from_json(timed.to_json("nonce"), "here")[0].watermark
    assert found is not None
    assert (found.clock, found.table) == ("2026-11-29", "")


def test_counts_of_rows_are_carried_by_every_version() -> None:
    opened = OpenLoad("load", "changes", "landing", "", rows=6, counting=RowCounts(1, 2, 0), counts=RowCounts(1, 2, 3))
    ended = Finished("before", "reload", 4, 40, 1, counts=RowCounts(3, 1, 0, 9))
    state = LandingState(open=opened, set_aside=replace(opened, adds=True), finished=ended)
    document = json.loads(state.to_json("nonce"))
    parts = [document[name] for name in ("open", "set_aside", "finished")]
    unknown = {"counts", "counting", "adds"}
    assert not any(unknown & part.keys() for part in parts), "an earlier version has to read it as well"
    assert LandingState.from_json(json.dumps(document).encode(), "here")[0] == state
    document["open"]["rows"] += 5  # landed by an earlier version, which counts nothing
    del document["finished"]["checked"]  # as the first versions wrote it
    found = LandingState.from_json(json.dumps(document).encode(), "here")[0]
    assert found.open == replace(opened, rows=11, counts=UNKNOWN)
    assert found.finished == replace(ended, counts=UNKNOWN)
    document["open"]["checked"]["examples"] = {}
    found = LandingState.from_json(json.dumps(document).encode(), "here")[0]
    assert found.open == replace(opened, rows=11, counts=UNKNOWN, counting=UNKNOWN)


def test_rows_of_an_intent_that_others_have_written_are_not_known() -> None:
    for rows, landed in ((6, RowCounts(2, 3, 4)), (7, UNKNOWN)):
        intent = (StagedFile("a", 1, "", rows, "b"),)
        opened = OpenLoad("load", "changes", "landing", "", intent=intent, counts=RowCounts(1, 1, 1))
        found = committed(LandingState(open=replace(opened, counting=RowCounts(1, 2, 3)))).open
        assert found is not None
        assert (found.counts, found.counting) == (landed, UNKNOWN)


def test_rows_that_are_left_out_are_counted_though_nothing_is_visible_by_them() -> None:
    for adds, divided, counting, rows, landed in (
        (False, None, RowCounts(0, 0, 0, 5), 0, RowCounts(1, 1, 1, 5)),
        (False, None, RowCounts(1, 0, 0, 5), 1, RowCounts(2, 1, 1, 5)),
        (True, None, UNKNOWN, 3, RowCounts(4, 1, 1)),
        (False, Division("1-a", 2, 0), UNKNOWN, 0, RowCounts(1, 1, 1)),
        (False, Division("1-a", 2, 4), UNKNOWN, 2, RowCounts(None, None, 1)),
    ):
        opened = OpenLoad("load", "changes", "landing", "", counts=RowCounts(1, 1, 1), divided=divided)
        found = counted(LandingState(open=replace(opened, adds=adds, counting=counting)), rows).open
        assert found is not None
        assert found.counts == landed


def test_a_snapshot_is_true_at_one_sequence_number_and_names_files_that_stay() -> None:
    old, new = (StagedFile(f"staging/{number}.digests", 1, "f" * 64, 3) for number in (1, 2))
    snapshot = Snapshot("hash/shape", 1, 4, (old,))
    opened = OpenLoad("load", "reload", "staging", "", made_of="hash/shape", difference=True, digests=(new,))
    state = LandingState(next_sequence=4, snapshot=snapshot, open=opened)
    assert LandingState.from_json(state.to_json("nonce"), "here")[0] == state
    assert state.staged_paths == {old.staged, new.staged}
    assert state.true_snapshot == snapshot
    assert replace(state, next_sequence=5).true_snapshot is None
    assert next_generation(state).snapshot is None
    landed = replace(state, open=replace(opened, intent=(StagedFile("a", 1, "", 2, "b"),)))
    assert committed(landed).true_snapshot == Snapshot("hash/shape", 1, 5, (new,))
    for changes in ({"made_of": ""}, {"mode": "changes", "made_of": "hash/other"}):
        other = replace(landed, open=OpenLoad(**vars(landed.open) | changes))
        assert committed(other).snapshot is None, "some of what has landed is not remembered"
    added = replace(landed, open=OpenLoad(**vars(landed.open) | {"mode": "changes", "folded": 0}))
    assert committed(added).true_snapshot == Snapshot("hash/shape", 1, 5, (old, new))


@pytest.mark.parametrize(
    ("landed", "staged", "begun_in"),
    [
        ("csv", (), "csv"),
        ("delta", ("parquet",), "delta"),
        ("csv", ("csv", "csv"), "csv"),
        ("csv", ("parquet",), ""),
        ("", ("parquet",), ""),
        ("csv", ("csv", "parquet"), ""),
        ("", (), ""),
    ],
)
def test_the_format_of_an_earlier_versions_open_load_is_that_of_its_rows(
    landed: str, staged: tuple[str, ...], begun_in: str
) -> None:
    files = tuple(StagedFile(f"staging/{number}.{end}", 1, "f" * 64, 1) for number, end in enumerate(staged))
    state = LandingState(file_format=landed, open=OpenLoad("load", "reload", "staging", "", staged=files))
    document = json.loads(state.to_json("nonce"))
    document["open"].pop("file_format", None)
    found = LandingState.from_json(json.dumps(document).encode(), "here")[0]
    assert found.open is not None
    assert found.open.file_format == begun_in
    assert LandingState.from_json(found.to_json("nonce"), "here")[0] == found
    same = replace(found, open=replace(found.open, file_format=landed))
    assert "file_format" not in json.loads(same.to_json("nonce"))["open"], "an earlier version has to read it as well"
