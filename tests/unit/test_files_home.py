"""Files as a source: what each format's files become, where reading resumes, and what is refused."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import os
import random
import re
import socket
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hygge_engine.errors import (
    CursorUnusable,
    HomeError,
    HomeNotFound,
    HomeUnavailable,
    SourceChanged,
    Unreadable,
    UnsupportedType,
)
from hygge_engine.homes.base import Position, ReadWindow
from hygge_engine.homes.files import blocks, listing
from hygge_engine.homes.files.home import FilesHome
from hygge_engine.homes.files.settings import LocalHomeSettings
from hygge_engine.lake.local import LocalLake
from hygge_engine.project.models.locations import folder_on_disk
from hygge_engine.project.models.settings import FILE_MODIFIED, Surroundings
from tests.support.files_home import home_of

# Where Arrow counts times from.
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def write(root: Path, name: str, content: str | bytes) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def write_parquet(root: Path, name: str, columns: dict[str, Any], **keys: Any) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, **keys)
    return path


def relabelled(path: Path, table: pa.Table, old: bytes, new: bytes) -> None:
    """A Parquet file whose footer says of a column what Arrow would not."""
    sink = io.BytesIO()
    pq.write_table(table, sink, store_schema=False, use_dictionary=False)
    data = sink.getvalue()
    begin = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    footer = data[begin:-8].replace(old, new)
    assert footer != data[begin:-8]
    path.write_bytes(data[:begin] + footer + len(footer).to_bytes(4, "little") + b"PAR1")


def rows(home: FilesHome, window: ReadWindow | None = None, after: Position | None = None) -> list[dict[str, Any]]:
    schema = home.describe().schema
    found = []
    for batch in home.read(window or ReadWindow(), after):
        assert batch.rows.schema == schema
        found += batch.rows.to_pylist()
    return found


def rows_or_refusal(home: FilesHome) -> list[dict[str, Any]] | str:
    try:
        return rows(home)
    except Unreadable as error:
        return error.message


def types(home: FilesHome) -> dict[str, str]:
    return {column.name: str(column.type) for column in home.describe().columns}


def resumed_everywhere(open_home: Callable[[], FilesHome], window: ReadWindow | None = None) -> list[dict[str, Any]]:
    """All rows; and after each batch another reader continues, in whose rows none is lost or comes again."""
    whole = rows(open_home(), window)
    done = 0
    for batch in open_home().read(window or ReadWindow()):
        done += batch.rows.num_rows
        assert batch.position is not None
        assert rows(open_home(), window, json.loads(json.dumps(batch.position))) == whole[done:]
    return whole


class TestListing:
    def test_files_of_other_tools_that_hold_no_rows_are_left_out(self, tmp_path: Path) -> None:
        for month, id_ in (("01", 1), ("02", 2)):
            write_parquet(tmp_path, f"sales/year=2024/month={month}/part-0.snappy.parquet", {"id": [id_]})
        for name in ("_SUCCESS", "_committed_123", "_started_123", ".part-0.crc", "year=2024/_temporary/0/x.parquet"):
            write(tmp_path, f"sales/{name}", "no rows")
        write(tmp_path, "sales/year=2024/month=02/empty.parquet", "")
        found = rows(home_of(tmp_path, "sales"))
        assert found == [{"id": 1, "year": 2024, "month": 1}, {"id": 2, "year": 2024, "month": 2}]

    def test_a_folder_is_its_files_of_the_format_and_a_pattern_is_what_it_says(self, tmp_path: Path) -> None:
        for name in (
            "a.csv",
            "b.TSV",
            "sub/c.csv.GZ",
            "d.csv.bak",
            "e.pdf",
            "f",
            "g.csv~",
            "~$a.csv",
            "_i.csv",
        ):
            write(tmp_path, f"in/{name}", gzip.compress(b"v\n1\n") if name.endswith("GZ") else "v\n1\n")
        for name in (".DS_Store", "_SUCCESS", "empty.csv", "sub/_temporary/j.csv"):
            write(tmp_path, f"in/{name}", "" if "empty" in name else "v\n1\n")
        home = home_of(tmp_path, "in", format="csv")
        assert [file.path for file in home.files] == ["in/a.csv", "in/b.TSV", "in/sub/c.csv.GZ"]
        assert sorted(home.describe().omissions) == [
            "left out, because their names begin with _, . or ~$: in/_i.csv, in/~$a.csv",
            "left out, because their names do not end in .csv or .tsv: in/d.csv.bak, in/e.pdf, in/f, in/g.csv~",
            "left out, because they are empty (0 bytes): in/empty.csv",
        ]
        anything = home_of(tmp_path, "in/*", format="csv")
        assert [file.path[3:] for file in anything.files] == [
            "a.csv",
            "b.TSV",
            "d.csv.bak",
            "e.pdf",
            "f",
            "g.csv~",
        ]
        with pytest.raises(
            HomeNotFound, match=r"There are no ndjson files with content at .*: in/a.csv, in/b.TSV"
        ) as caught:
            home_of(tmp_path, "in", format="ndjson").describe()
        assert caught.value.hint == "Check format and path, which takes any name with /** at its end."

    def test_an_empty_file_is_told_as_what_it_is(self, tmp_path: Path) -> None:
        write(tmp_path, "in/a.csv", "")
        for pattern in ("in/a.csv", "in/*.csv", "in"):
            with pytest.raises(HomeNotFound, match=r"because they are empty \(0 bytes\): in/a.csv"):
                home_of(tmp_path, pattern, format="csv").describe()

    def test_globs_and_single_files(self, tmp_path: Path) -> None:
        for name in ("a/x.csv", "a/b/y.csv", "a/b/c/z.csv", "a/b/z.txt"):
            write(tmp_path, name, f"v\n{name}\n")
        for pattern, names in {
            "a/*.csv": ["a/x.csv"],
            "a/**/*.csv": ["a/b/c/z.csv", "a/b/y.csv", "a/x.csv"],
            "a/b/y.csv": ["a/b/y.csv"],
            "a/[b]/?.csv": ["a/b/y.csv"],
        }.items():
            assert [row["v"] for row in rows(home_of(tmp_path, pattern, format="csv"))] == names

    def test_links_are_followed_and_each_file_counts_once(self, tmp_path: Path) -> None:
        write(tmp_path, "elsewhere/more.csv", "id\n3\n")
        write(tmp_path, "in/real/a.csv", "id\n1\n")
        write(tmp_path, "in/b.csv", "id\n2\n")
        for link, leads_to in {
            "in/again": "real",  # the same folder once more, and before it in the order of names
            "in/real/loop": "..",
            "in/a-link.csv": "b.csv",
            "in/c-link.csv": "../elsewhere/more.csv",
            "in/d-link.csv": "c-link.csv",
            "in/far": str(tmp_path / "elsewhere"),
        }.items():
            (tmp_path / link).symlink_to(leads_to)
        home = home_of(tmp_path, "in", format="csv")
        assert sorted(row["id"] for row in rows(home)) == [1, 2, 3]
        assert [file.path for file in home.files if "real" in file.path] == ["in/real/a.csv"]
        assert len(home.links) == 1
        (tmp_path / "in/gone.csv").symlink_to("/nowhere/gone.csv")
        with pytest.raises(HomeError, match=r"in/gone.csv is a link to /nowhere/gone.csv, and leads nowhere"):
            home_of(tmp_path, "in/*.csv", format="csv").describe()

    def test_folders_become_columns_of_the_type_that_fits_them_all(self, tmp_path: Path) -> None:
        for folder in ("day=2024-01-31/region=de%2Fby/n=1", "day=2024-02-01/region=__HIVE_DEFAULT_PARTITION__/n=x"):
            write(tmp_path, f"{folder}/f.csv", "id\n1\n")
        home = home_of(tmp_path, "**/*.csv", format="csv")
        assert types(home) == {"id": "int64", "day": "date32[day]", "region": "string", "n": "string"}
        assert [row["region"] for row in rows(home)] == ["de/by", None]
        with pytest.raises(HomeError, match="n' is 'x', not a valid int32"):
            home_of(tmp_path, "**/*.csv", format="csv", columns={"n": "int32"}).describe()
        assert types(home_of(tmp_path, "**/*.csv", format="csv", partitions=False)) == {"id": "int64"}

    def test_nothing_there_and_delta_tables_are_said_clearly(self, tmp_path: Path) -> None:
        with pytest.raises(HomeNotFound, match=r"There are no files at .*/nowhere"):
            home_of(tmp_path, "nowhere").describe()
        write(tmp_path, "t/_delta_log/0.json", "{}")
        write_parquet(tmp_path, "t/part.parquet", {"id": [1]})
        with pytest.raises(HomeError, match="holds a Delta table"):
            home_of(tmp_path, "t").describe()

    def test_folders_of_two_layouts_are_refused_with_both(self, tmp_path: Path) -> None:
        write(tmp_path, "year=1/a.csv", "id\n1\n")
        write(tmp_path, "month=1/b.csv", "id\n1\n")
        with pytest.raises(HomeError, match=r"month=1/b.csv.*|year=1/a.csv.*"):
            home_of(tmp_path, "**", format="csv").describe()


class TestParquet:
    def test_columns_are_united_and_widened_by_name(self, tmp_path: Path) -> None:
        write_parquet(tmp_path, "a.parquet", {"id": pa.array([1], pa.int32()), "x": pa.array([1.5], pa.float32())})
        write_parquet(tmp_path, "b.parquet", {"late": ["l"], "id": pa.array([2**40]), "x": pa.array([0.1])})
        home = home_of(tmp_path)
        assert types(home) == {"id": "int64", "x": "double", "late": "string"}
        assert rows(home) == [{"id": 1, "x": 1.5, "late": None}, {"id": 2**40, "x": 0.1, "late": "l"}]
        assert home.describe().approximate_rows == 2

    def test_types_that_do_not_fit_are_refused_with_both_files(self, tmp_path: Path) -> None:
        write_parquet(tmp_path, "a.parquet", {"id": [1]})
        write_parquet(tmp_path, "b.parquet", {"id": ["1"]})
        with pytest.raises(HomeError, match=r"'id' is string in b.parquet, and int64 in a.parquet"):
            home_of(tmp_path).describe()

    def test_types_that_delta_does_not_know_become_those_it_knows(self, tmp_path: Path) -> None:
        moment = datetime(2024, 1, 31, 12, 0, 0, 123456)
        columns: dict[str, tuple[pa.Array[Any], str, Any]] = {
            "u8": (pa.array([255], pa.uint8()), "int16", 255),
            "u32": (pa.array([2**32 - 1], pa.uint32()), "int64", 2**32 - 1),
            "u64": (pa.array([2**64 - 1], pa.uint64()), "decimal128(20, 0)", Decimal(2**64 - 1)),
            "half": (pa.array([1.5], pa.float16()), "float", 1.5),
            "word": (pa.array(["a"]).dictionary_encode(), "string", "a"),
            "large": (pa.array(["a"], pa.large_string()), "string", "a"),
            "fixed": (pa.array([b"ab"], pa.binary(2)), "binary", b"ab"),
            "list": (pa.array([[1, None]]), "string", "[1,null]"),
            "struct": (pa.array([{"a": "ä"}]), "string", '{"a":"ä"}'),
            "naive": (pa.array([moment], pa.timestamp("us")), "timestamp[us, tz=UTC]", moment.replace(tzinfo=UTC)),
            "nanos": (pa.array([1_001], pa.timestamp("ns")), "timestamp[us, tz=UTC]", EPOCH + MICROSECOND),
            "early": (pa.array([-1], pa.timestamp("ns")), "timestamp[us, tz=UTC]", EPOCH - MICROSECOND),
            "berlin": (pa.array([0], pa.timestamp("ms", "Europe/Berlin")), "timestamp[us, tz=UTC]", EPOCH),
            "time": (pa.array([3_661], pa.time32("s")), "string", "01:01:01.000"),
            "lasting": (pa.array([5], pa.duration("ms")), "int64", 5_000),
            "nothing": (pa.nulls(1), "string", None),
        }
        write_parquet(tmp_path, "t.parquet", {name: array for name, (array, _, _) in columns.items()})
        home = home_of(tmp_path)
        assert types(home) == {name: type_ for name, (_, type_, _) in columns.items()}
        assert rows(home) == [{name: value for name, (_, _, value) in columns.items()}]
        lost = {column.name: column.loss for column in home.describe().columns if column.loss}
        assert lost == {
            "list": "nested values are JSON text",
            "struct": "nested values are JSON text",
            "nanos": "digits below a microsecond are cut",
            "early": "digits below a microsecond are cut",
            "berlin": "the zone Europe/Berlin is not kept, the instant is",
            "lasting": "counted in microseconds",
        }
        # What no key and no hash is made of: values that differ in the file may be one in the destination.
        blurred = {column.name for column in home.describe().columns if column.blurs}
        assert blurred == {"list", "struct", "nanos", "early"}

    def test_what_has_no_place_is_refused_unless_it_is_left_out(self, tmp_path: Path) -> None:
        write_parquet(tmp_path, "t.parquet", {"id": [1], "d": pa.array([Decimal(1)], pa.decimal256(50, 0))})
        with pytest.raises(UnsupportedType, match="'d' has the type decimal256"):
            home_of(tmp_path).describe()
        assert rows(home_of(tmp_path, infer=False, columns={"id": "int64"})) == [{"id": 1}]

    def test_kinds_that_look_like_bytes_are_text_or_refused_with_the_file(self, tmp_path: Path) -> None:
        # As other writers annotate them; Arrow writes neither.
        texts = pa.table({"v": pa.array(["A", None])})
        relabelled(tmp_path / "enum.parquet", texts, b"v\x25\x00\x4c\x1c\x00\x00", b"v\x25\x08\x4c\x4c\x00\x00")
        home = home_of(tmp_path)
        assert (types(home), rows(home)) == ({"v": "string"}, [{"v": "A"}, {"v": None}])
        spans = pa.table({"v": pa.array([bytes(range(12))], pa.binary(12))})
        relabelled(tmp_path / "span.parquet", spans, b"\x18\x15\x02\x18\x01v\x00", b"\x18\x15\x02\x18\x01v\x25\x2a\x00")
        with pytest.raises(UnsupportedType, match=r"span\.parquet: column 'v' has intervals .* Leave it out"):
            home_of(tmp_path).describe()

    def test_reading_goes_on_within_a_row_group(self, tmp_path: Path) -> None:
        for name, first in (("a", 0), ("b", 100)):
            values = list(range(first, first + 25))
            write_parquet(tmp_path, f"{name}.parquet", {"id": values}, row_group_size=10)
        assert [row["id"] for row in resumed_everywhere(lambda: home_of(tmp_path, batch_rows=4))] == [
            *range(25),
            *range(100, 125),
        ]

    def test_an_increment_reads_only_row_groups_that_may_have_its_rows(self, tmp_path: Path) -> None:
        days = [date(2024, 1, day) for day in range(1, 31)]
        write_parquet(
            tmp_path, "t.parquet", {"id": list(range(30)), "day": days, "s": ["x" * 50] * 30}, row_group_size=10
        )
        window = ReadWindow("day", "2024-01-10", "2024-01-15")
        home = home_of(tmp_path, batch_rows=3)
        home.describe()
        positions = [batch.position for batch in home.read(window)]
        assert {position[2] for position in positions if position} == {"1", "end"}
        assert [row["id"] for row in resumed_everywhere(lambda: home_of(tmp_path, batch_rows=3), window)] == list(
            range(10, 15)
        )

    def test_another_file_is_told_by_what_it_is(self, tmp_path: Path) -> None:
        write(tmp_path, "a.parquet", "<!DOCTYPE html><html><body>Sign in</body></html>")
        with pytest.raises(Unreadable, match=r"a.parquet is an HTML page"):
            home_of(tmp_path).describe()

    def test_no_parquet_file_is_said_with_its_name(self, tmp_path: Path) -> None:
        write(tmp_path, "t.parquet", "id\n1\n")
        with pytest.raises(Unreadable, match=r"t\.parquet is not a whole Parquet file"):
            home_of(tmp_path).describe()

    def test_old_timestamps_keep_their_years(self, tmp_path: Path) -> None:
        moments = [datetime(1, 1, 1), datetime(1500, 2, 28, 1, 2, 3, 4), datetime(2300, 1, 1), datetime(9999, 12, 31)]
        table = pa.table({"at": pa.array(moments, pa.timestamp("us"))})
        pq.write_table(table, tmp_path / "t.parquet", use_deprecated_int96_timestamps=True)
        home = home_of(tmp_path)
        assert [row["at"] for row in rows(home)] == [moment.replace(tzinfo=UTC) for moment in moments]
        assert home.describe().columns[0].loss == "digits below a microsecond are cut"

    @pytest.mark.parametrize(
        ("column", "message"),
        [
            (pa.array([b"fine", b"\xff\xfe"]).view(pa.string()), "t.parquet, rows 1 to 2, column 'v': .*UTF-8"),
            (
                pa.array([{"d": 2_932_897}], pa.struct([("d", pa.int32())])).cast(pa.struct([("d", pa.date32())])),
                "t.parquet, rows 1 to 1, column 'v': a nested date or time lies outside the years 1 to 9999",
            ),
            (
                pa.array([[None, -62_135_596_801]], pa.list_(pa.int64())).cast(pa.list_(pa.timestamp("s", "UTC"))),
                "a nested date or time lies outside the years 1 to 9999",
            ),
            (pa.array([[1.0], [float("nan")]]), "t.parquet, rows 1 to 2, column 'v': JSON cannot hold NaN"),
            (pa.array([{"a": {"b": b"x"}}]), "'v' has the type .*: JSON text cannot hold bytes"),
            (pa.array([[("k", 1.0), ("l", float("inf"))]], pa.map_(pa.string(), pa.float64())), "NaN or infinity"),
            (
                pa.array([[(1, "a")]], pa.map_(pa.int64(), pa.string())),
                "'v' has the type .*: the keys of an object are",
            ),
            (
                pa.array(
                    [[[("k", 1)], None, [("k", 2), ("j", 3), ("k", 4)]]], pa.list_(pa.map_(pa.string(), pa.int64()))
                ),
                "t.parquet, rows 1 to 1, column 'v': a key comes twice",
            ),
            (
                pa.array([[None]], pa.list_(pa.struct([("a", pa.int8()), ("a", pa.int8())]))),
                "'v' has the type .*: it has the field 'a' twice",
            ),
        ],
    )
    def test_what_has_no_text_is_refused_with_its_place(
        self, tmp_path: Path, column: pa.Array[Any], message: str
    ) -> None:
        write_parquet(tmp_path, "t.parquet", {"v": column})
        with pytest.raises((Unreadable, UnsupportedType), match=message):
            rows(home_of(tmp_path))

    def test_maps_with_the_same_keys_in_other_rows_are_whole(self, tmp_path: Path) -> None:
        maps = [[("k", 1)], None, [], [("k", 2), ("j", 3)]]
        write_parquet(tmp_path, "t.parquet", {"v": pa.array(maps, pa.map_(pa.string(), pa.int64()))})
        assert [row["v"] for row in rows(home_of(tmp_path))] == ['{"k":1}', None, "{}", '{"k":2,"j":3}']

    @pytest.mark.parametrize("at", [0, 4, 20, 200, -300, -9, -5])
    def test_damaged_files_are_told_with_their_name(self, tmp_path: Path, at: int) -> None:
        path = write_parquet(tmp_path, "t.parquet", {"v": [str(n) for n in range(100)]}, write_page_checksum=True)
        whole = path.read_bytes()
        for damaged in (whole[:at] or b"x", whole[:at] + bytes(8) + whole[at:][8:]):
            path.write_bytes(damaged)
            found = rows_or_refusal(home_of(tmp_path))
            assert found == [{"v": str(n)} for n in range(100)] or str(found).startswith("t.parquet")


class TestCsv:
    def test_quotes_line_ends_and_marks_of_other_tools(self, tmp_path: Path) -> None:
        write(
            tmp_path,
            "a.csv",
            b'\xef\xbb\xbfid,note,"a ""name"""\r\n1,"two\r\nlines, and ""quotes""",\r\n2,"",x\r\n\r\n3,5" pipe,y',
        )
        home = home_of(tmp_path, format="csv")
        assert rows(home) == [
            {"id": 1, "note": 'two\r\nlines, and "quotes"', 'a "name"': None},
            {"id": 2, "note": "", 'a "name"': "x"},
            {"id": 3, "note": '5" pipe', 'a "name"': "y"},
        ]

    def test_encodings_may_differ_from_file_to_file(self, tmp_path: Path) -> None:
        text = "id,name\n1,Ærøskøbing\n2,Łódź €\n"
        write(tmp_path, "a.csv", text.encode("utf-8-sig"))
        write(tmp_path, "b.csv", text.encode("utf-16"))
        write(tmp_path, "c.csv", text.encode("utf-8"))
        write(tmp_path, "d.csv", "id,name\n3,Ærø €\n".encode("cp1252"))
        found = rows(home_of(tmp_path, format="csv"))
        assert [row["name"] for row in found] == ["Ærøskøbing", "Łódź €"] * 3 + ["Ærø €"]
        with pytest.raises(Unreadable, match=r"d.csv, line 2: the byte 0xC6 is not utf-8 text"):
            rows(home_of(tmp_path, "d.csv", format="csv", encoding="utf-8"))
        assert rows(home_of(tmp_path, "d.csv", format="csv", encoding="cp1252"))[0]["name"] == "Ærø €"

    def test_dates_of_spreadsheets_and_of_other_forms(self, tmp_path: Path) -> None:
        write(tmp_path, "a.csv", "mac;win;at;local;iso\n43830;45292;43830,5;31.01.2024;1904-01-01\n;;;;\n")
        columns = {
            "mac": {"type": "date", "epoch": 1904},
            "win": {"type": "date", "epoch": 1900},
            "at": {"type": "timestamp", "epoch": 1904},
            "local": {"type": "date", "format": "%d.%m.%Y"},
        }
        first, second = rows(home_of(tmp_path, format="csv", delimiter=";", decimal=",", columns=columns))
        assert first == {
            "mac": date(2024, 1, 1),
            "win": date(2024, 1, 1),
            "at": datetime(2024, 1, 1, 12, tzinfo=UTC),
            "local": date(2024, 1, 31),
            "iso": date(1904, 1, 1),
        }
        assert set(second.values()) == {None}

    @pytest.mark.parametrize(
        ("texts", "type_"),
        [
            (["1", "-2"], "int64"),
            (["007", "1"], "string"),
            (["1", "2.5"], "double"),
            (["1.0", "2.5", "1e-05"], "double"),
            (["12345678901234567890"], "string"),
            (["true", "false"], "bool"),
            (["1", "true"], "string"),
            (["2024-01-31"], "date32[day]"),
            (["2024-01-31 10:00:00", "2024-01-31 10:00:00.5"], "timestamp[us, tz=UTC]"),
            (["2024-02-31"], "string"),
            ([""], "string"),
        ],
    )
    def test_types_are_those_that_fit_all_files(self, tmp_path: Path, texts: list[str], type_: str) -> None:
        for number, text in enumerate(texts):
            write(tmp_path, f"{number}.csv", f"v,other\n{text},x\n")
        assert types(home_of(tmp_path, format="csv")) == {"v": type_, "other": "string"}

    def test_a_value_of_another_type_is_shown_with_its_place(self, tmp_path: Path) -> None:
        write(tmp_path, "a.csv", 'id,note\n1,"two\nlines"\n\nx1,y\n')
        with pytest.raises(
            Unreadable, match=r"a.csv, line 5, column 'id': the value \(2 characters\) is not a valid int64"
        ) as caught:
            rows(home_of(tmp_path, format="csv", columns={"id": "int64"}))
        assert "columns: {id: string}" in caught.value.hint

    def test_a_record_of_another_width_is_shown_with_its_place(self, tmp_path: Path) -> None:
        write(tmp_path, "a.csv", 'id,note\n1,"a\nb"\n2\n')
        with pytest.raises(Unreadable, match=r"a.csv, line 4: 1 field where others have 2"):
            home_of(tmp_path, format="csv").describe()

    def test_files_without_a_header_and_with_other_columns(self, tmp_path: Path) -> None:
        write(tmp_path, "bare/a.tsv", "1\tx\t\\N\n")
        keys: dict[str, Any] = {"delimiter": "tab", "header": False, "null_values": ["\\N"], "quote": ""}
        assert rows(home_of(tmp_path, "bare", format="csv", columns={"id": "int32"}, **keys)) == [
            {"id": 1, "column_2": "x", "column_3": None}
        ]
        write(tmp_path, "named/a.csv", "id,x\n1,a\n")
        write(tmp_path, "named/b.csv", "y,id\nb,2\n")
        assert rows(home_of(tmp_path, "named", format="csv")) == [
            {"id": 1, "x": "a", "y": None},
            {"id": 2, "x": None, "y": "b"},
        ]
        assert rows(home_of(tmp_path, "named", format="csv", infer=False, columns={"id": "int16"})) == [
            {"id": 1},
            {"id": 2},
        ]

    def test_escaped_quotes_as_spark_writes_them(self, tmp_path: Path) -> None:
        write(tmp_path, "a.csv", 'id,v\n1,"say \\"hi\\", then\ngo"\n2,b\n')
        assert [row["v"] for row in rows(home_of(tmp_path, format="csv", escape="\\"))] == ['say "hi", then\ngo', "b"]

    def test_decimals_are_exact_or_refused(self, tmp_path: Path) -> None:
        write(tmp_path, "a.csv", "v\n0.10\n12.500\n")
        assert [row["v"] for row in rows(home_of(tmp_path, format="csv", columns={"v": "decimal(4,2)"}))] == [
            Decimal("0.10"),
            Decimal("12.50"),
        ]
        write(tmp_path, "a.csv", "v\n0.105\n")
        with pytest.raises(
            Unreadable, match=r"line 2, column 'v': the value \(5 characters\) is not a valid decimal\(4,2\)"
        ):
            rows(home_of(tmp_path, format="csv", columns={"v": "decimal(4,2)"}))

    @pytest.mark.parametrize(
        ("name", "pack"),
        [
            ("a.csv", bytes),
            ("a.csv.gz", gzip.compress),
            ("a.csv.bz2", bz2.compress),
            ("a.csv.zst", lambda data: pa.Codec("zstd").compress(data, asbytes=True)),
        ],
    )
    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
    def test_reading_goes_on_within_a_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, pack: Callable[[bytes], bytes], encoding: str
    ) -> None:
        monkeypatch.setattr(blocks, "BLOCK_BYTES", 64)
        text = "id,v\n" + "".join(f'{n},"é\n{n}, ""x"""\n' for n in range(20))
        write(tmp_path, name, pack(text.encode(encoding)))
        found = resumed_everywhere(lambda: home_of(tmp_path, format="csv", batch_rows=2))
        assert found == [{"id": n, "v": f'é\n{n}, "x"'} for n in range(20)]


LONG = "id,note\n" + "".join(f"{n},x\n" for n in range(2, 1_001)) + '1001,"opened\n' + "1,x\n" * 49_000


REFUSED: list[tuple[str, str | bytes, dict[str, Any], str]] = [
    ("a.csv", LONG, {}, 'in/a.csv, line 1001: a quote " opens a field here, and is never closed'),
    ("a.csv", b"\0" * 1000, {}, "in/a.csv, line 1: a name of a column holds a NUL character"),
    ("a.csv", 'id,v\n1,"a "quoted" word"\n', {}, 'in/a.csv, line 2: the quote " closes a field here, and more'),
    ("a.csv", 'id,v\r1,x\r2,"y" z\r', {}, "in/a.csv, line 3: the quote"),
    ("a.csv", "sep=;\nid;v\n1;2\n", {}, "in/a.csv, line 1: its fields are delimited by ';'"),
    ("a.csv", "id;v\n1;2\n", {}, "in/a.csv, line 1: one field by the delimiter ',', and 2 by ';'"),
    ("a.csv", "1|2|3\n4|5|6\n", {"header": False}, "in/a.csv, line 1: one field by the delimiter ',', and 3 by"),
    (
        "a.csv",
        "1,2\n",
        {"header": False, "columns": {"a": "int64", "b": "int64", "c": "int64"}},
        "in/a.csv has 2 col",
    ),
    ("a.csv", "a,b\n1,2\n3\n", {"header": False}, "in/a.csv, line 3: 1 field where others have 2"),
    ("a.csv", "v\n1\n24-01-02\n", {"columns": {"v": {"type": "date", "format": "%Y-%m-%d"}}}, "line 2, column 'v'"),
    (
        "a.csv",
        "v\n1,5\n1.234\n",
        {"decimal": ",", "delimiter": ";", "columns": {"v": "float64"}},
        "line 3, column 'v'",
    ),
    (
        "a.csv",
        "v\n1e400\n",
        {"columns": {"v": "float64"}},
        "line 2, column 'v': the value (5 characters) is not a valid float64",
    ),
    (
        "a.csv",
        "v\n60\n",
        {"columns": {"v": {"type": "date", "epoch": 1900}}},
        "line 2, column 'v': the value (2 characters) is not a valid date",
    ),
    ("a.csv", "id,v\n1,é\n".encode("utf-16-le"), {}, "in/a.csv, line 1: NUL characters begin here.* utf-16-le"),
    ("a.csv", "id,v\n1,é\n".encode("utf-16-be"), {}, "in/a.csv, line 1: NUL characters begin here.* utf-16-be"),
    ("a.csv", "id,v\n1,\0\n2,\0\n3,\0\n", {}, "in/a.csv, line 2: NUL characters begin here"),
    ("a.csv", "id,v\n1,é\n".encode("utf-16-be"), {"encoding": "utf-16-le"}, "in/a.csv is text in utf-16-be"),
    ("a.csv", "id,v\n1,2\n2,1e-400\n", {"columns": {"v": "float64"}}, "line 3, column 'v'"),
    ("a.csv", "id,v\n1,-0.00E-9\n2,-1E-50\n", {"columns": {"v": "float32"}}, "line 3, column 'v'"),
    ("a.ndjson", '{"v":0e-400}\n{"v":1e-400}\n', {"columns": {"v": "float64"}}, "line 2, column 'v'"),
    ("a.csv", "id,v\n".encode("utf-32"), {}, "in/a.csv is text in UTF-32"),
    ("a.csv", gzip.compress(b"id\n1\n"), {}, "in/a.csv is gzip-compressed"),
    *(
        (f"a.{ending}", content, {}, f"in/a.{ending} is {what}")
        for ending in ("csv", "ndjson")
        for content, what in {
            b"%PDF-1.7\n%\xe2\xe3\n1 0 obj\n": "a PDF document",
            b"PK\x03\x04\x14\0\x06\0": "a ZIP archive",
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0": "a document of an old Office",
            b"<!DOCTYPE html>\n<html><body>Sign in</body></html>\n": "an HTML page",
            b"\r\n  <!doctype HTML PUBLIC '-//W3C//DTD'>\n": "an HTML page",
            b"\xef\xbb\xbf<HTML lang='en'>\n<head>": "an HTML page",
            "\ufeff<html>\r\n<head>".encode("utf-16-le"): "an HTML page",
            b"<table border=1><tr><td>1</td></tr></table>": "an HTML page",
            b"<?xml version='1.0'?><Error><Code>AuthenticationFailed</Code></Error>": "an XML document",
            b"\n<!-- saved from a page -->\n<html>": "an HTML page",
            b"<svg xmlns='http://www.w3.org/2000/svg'/>": "an XML document",
            b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\n": "the response of a web server",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n": "a pointer of Git LFS",
            b"PAR1\x15\x04\x15": "a Parquet file",
            b"PAR1\0\0\0\0PAR1": "a Parquet file",
            b"ORC\n\x06\x12\x04": "an ORC file",
            b"Obj\x01\x04\x16avro.schema": "an Avro file",
            b"SQLite format 3\0\x10\0": "a SQLite database",
            b"\xfd7zXZ\0\0\x04": "xz-compressed",
            b"a.csv" + b"\0" * 252 + b"ustar\x0000": "a tar archive",
        }.items()
    ),
    ("a.csv", '{"id":1}\n{"id":2}\n', {}, "in/a.csv, line 1: this is JSON"),
    ("a.csv", '{\n  "id": 1, "v": 2\n}\n', {}, "in/a.csv, line 1: this is JSON"),
    ("a.csv", '[{\n  "id": 1\n', {}, "in/a.csv, line 1: this is JSON"),
    ("a.csv", "<script>\nlocation = '/login'\n</script>", {}, "in/a.csv is an HTML page"),
    ("a.csv", "[\n  1\n]\n", {}, "in/a.csv, line 1: this is JSON"),
    ("a.csv.gz", gzip.compress(b"<!DOCTYPE html><p>"), {}, "in/a.csv.gz is an HTML page"),
    ("a.csv", bz2.compress(b"id\n1\n"), {}, "in/a.csv is bz2-compressed"),
    (
        "a.csv.gz",
        gzip.compress(b"id\n1\n" * 99)[:-9],
        {},
        "in/a.csv.gz cannot be decompressed as its ending .gz says",
    ),
    ("a.csv.GZ", b"id\n1\n", {}, "in/a.csv.GZ cannot be decompressed as its ending .gz says"),
    ("a.csv.bz2", gzip.compress(b"id\n1\n"), {}, "in/a.csv.bz2 cannot be decompressed"),
    ("a.csv.zst", bz2.compress(b"id\n1\n"), {}, "in/a.csv.zst cannot be decompressed"),
    ("a.ndjson", '{"a":1}\n{"a":2,"a":3}\n', {}, "in/a.ndjson, line 2: the key 'a' comes twice"),
    ("a.ndjson", '{"a":1}\n{"b\\u0000c":1}\n', {}, "in/a.ndjson, line 2: a name of a column holds a NUL character"),
    ("a.ndjson", '{"a":1}\n{"a":"x \\ud83d y"}\n', {}, r"in/a.ndjson, line 2, key 'a': \ud83d is half a character"),
    ("a.ndjson", '{"a":1}\n\n{"a":{"b":NaN}}\n', {}, "in/a.ndjson, line 3, key 'a': NaN within a nested value"),
    ("a.ndjson", '{"a":{"b":1,"b":2}}\n', {}, "in/a.ndjson, line 1, key 'a': a key comes twice"),
    ("a.ndjson", '{"a":1}\n{"z":"\\n","a":[{"b":[{"c":1,"c":1}]}]}\n', {}, "line 2, key 'a': a key comes twice"),
    ("a.ndjson", '{"a":{"b":1,"\\u0062":2}}\n', {}, "in/a.ndjson, line 1, key 'a': a key comes twice"),
    ("a.ndjson", '{"a":[]}\n{"a":["\\ud83d"]}\n', {}, r"in/a.ndjson, line 2, key 'a': \ud83d is half a character"),
    ("a.ndjson", '{"a":{"x\\uDE00":1}}\n', {}, r"in/a.ndjson, line 1, key 'a': \ude00 is half a character"),
    ("a.ndjson", '{"a":[["\\ude00\\ud83d"]]}\n', {}, "in/a.ndjson, line 1, key 'a': .* is half a character"),
    ("a.ndjson", "{}\n{}\n", {}, "in/a.ndjson has no columns"),
    ("a.ndjson", "\n", {}, "in/a.ndjson has no columns"),
    ("a.ndjson", '{"a":1}\n{"a":1},{"a":2}\n', {}, "in/a.ndjson, line 2: "),
    ("a.ndjson", '{"a":[1\n2]}\n', {}, "in/a.ndjson, line 1: "),
    ("a.ndjson", '{"a":1}\n{"a":"tab\there"}\n', {}, "in/a.ndjson, line 2: "),
    ("a.ndjson", '{"a":' + "[" * 100_000 + "]" * 100_000 + "}\n", {}, "in/a.ndjson, line 1: .* nested too deeply"),
    ("a.ndjson", '{"a":' + "9" * 5_000 + "}\n", {"columns": {"a": "int64"}}, "in/a.ndjson, line 1, column 'a'"),
]


@pytest.mark.parametrize(("name", "content", "keys", "message"), REFUSED, ids=[message for *_, message in REFUSED])
def test_what_cannot_be_read_as_it_is_says_so_with_its_place(
    tmp_path: Path, name: str, content: str | bytes, keys: dict[str, Any], message: str
) -> None:
    write(tmp_path, f"in/{name}", content)
    settings = LocalHomeSettings(type="local", path="in/*", format="ndjson" if "ndjson" in name else "csv", **keys)
    with pytest.raises(Unreadable) as caught:
        rows(FilesHome(LocalLake(tmp_path / "in"), "*", settings, settings.fixed_folder()))
    assert re.match(message, caught.value.message) or message in caught.value.message


@pytest.mark.parametrize(
    "content",
    [
        *("PAR1,ORC\n1,2\n", "ORC\n1\n", "<TABLE>,<DATE>\n1,2\n", "<html>,v\n1,2\n", "[a],{b}\n1,2\n", "MZ,BM\n1,2\n"),
        *(f"<{tag}>\r\n1\r\n" for tag in ("table", "html", "script", "BODY")),
        *(f"{first},v\n1,2\n" for first in ("[", "{", "[{", "%PDF-1.7", "HTTP/1.1 200 OK")),
    ],
)
def test_a_header_that_only_looks_like_a_mark_of_other_files_is_a_header(tmp_path: Path, content: str) -> None:
    write(tmp_path, "a.csv", content)
    names, values = (line.split(",") for line in content.splitlines())
    assert rows(home_of(tmp_path, "a.csv", format="csv")) == [dict(zip(names, map(int, values), strict=True))]


@pytest.mark.parametrize("partitioned", [False, True])
def test_rows_of_parquet_without_columns_are_refused(tmp_path: Path, partitioned: bool) -> None:
    folder = tmp_path / "in" / "year=2024" if partitioned else tmp_path / "in"
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"v": [1, 2]}).select([]), folder / "a.parquet")
    settings = LocalHomeSettings(type="local", path="in/**", format="parquet")
    with pytest.raises(Unreadable, match=r"a\.parquet has no columns"):
        FilesHome(LocalLake(tmp_path / "in"), "**", settings, settings.fixed_folder()).describe()


def test_whole_characters_and_keys_of_several_objects_stay_as_they_are_written(tmp_path: Path) -> None:
    kept = ['[{"b":1},{"b":2}]', '{"b":{"b":1}}', '["\\ud83d\\ude00","\\\\ud83d"]']
    write(tmp_path, "in/a.ndjson", "".join(f'{{"a":{each}}}\n' for each in kept))
    settings = LocalHomeSettings(type="local", path="in/*", format="ndjson")
    home = FilesHome(LocalLake(tmp_path / "in"), "*", settings, settings.fixed_folder())
    assert rows(home) == [{"a": each} for each in kept]


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_a_named_encoding_is_believed_of_nul_characters(tmp_path: Path, encoding: Any) -> None:
    write(tmp_path, "in/a.csv", "id,v\n1,\0\n2,\0\n3,\0\n")
    settings = LocalHomeSettings(type="local", path="in/*", format="csv", encoding=encoding)
    home = FilesHome(LocalLake(tmp_path / "in"), "*", settings, settings.fixed_folder())
    assert rows(home) == [{"id": number, "v": "\0"} for number in (1, 2, 3)]


@pytest.mark.parametrize(
    ("format_", "declared", "nearest"),
    [("csv", "ammount", "amount"), ("ndjson", "ammount", "amount"), ("parquet", "ammount", "amount")],
)
@pytest.mark.parametrize("infer", [True, False])
def test_a_declared_column_that_no_file_has_is_told_with_the_nearest_name(
    tmp_path: Path, format_: str, declared: str, nearest: str, infer: bool
) -> None:
    match format_:
        case "csv":
            write(tmp_path, "a.csv", "id,amount\n1,2\n")
        case "ndjson":
            write(tmp_path, "a.ndjson", '{"id":1,"amount":2}\n')
        case _:
            write_parquet(tmp_path, "a.parquet", {"id": [1], "amount": [2]})
    with pytest.raises(HomeNotFound, match=declared) as caught:
        home_of(tmp_path, format=format_, infer=infer, columns={declared: "int64"}).describe()
    assert nearest in caught.value.hint
    if infer:
        with pytest.raises(HomeNotFound, match="no column 'ammount' and no column 'idd', which `columns` names"):
            home_of(tmp_path, format=format_, columns={declared: "int64", "idd": "int64"}).describe()
    found = rows(home_of(tmp_path, format=format_, infer=infer, columns={"AMOUNT": "int64"}))
    assert found == [{"id": 1, "amount": 2} if infer else {"amount": 2}]


def test_values_that_other_readers_change(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", "sep=,\nNA,id,v\nx,1,\\N\nNA,2,\ufeffy\n")
    home = home_of(tmp_path, format="csv", null_values=["NA", "\\N"])
    assert rows(home) == [{"NA": "x", "id": 1, "v": None}, {"NA": None, "id": 2, "v": "\ufeffy"}]
    write(tmp_path, "b.ndjson", '{"id":9007199254740993,"v":{"path":"C:\\\\temp\\\\new", "n":1.10}}\n{"id":1.5}\n')
    home = home_of(tmp_path, "b.ndjson", format="ndjson")
    assert rows(home) == [
        {"id": "9007199254740993", "v": '{"path":"C:\\\\temp\\\\new", "n":1.10}'},
        {"id": "1.5", "v": None},
    ]


FIELD = st.text(st.sampled_from('a,"\n\r é'), max_size=6)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(table=st.lists(st.tuples(FIELD, FIELD), min_size=1, max_size=12), size=st.integers(24, 80))
def test_any_text_comes_back_wherever_blocks_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: Sequence[tuple[str, str]], size: int
) -> None:
    monkeypatch.setattr(blocks, "BLOCK_BYTES", size)
    quoted = ['"' + field.replace('"', '""') + '"' for row in table for field in row]
    lines = [",".join(quoted[at : at + 2]) for at in range(0, len(quoted), 2)]
    write(tmp_path, "t.csv", "a,b\n" + "\n".join(lines) + "\n")
    keys: dict[str, Any] = {"format": "csv", "columns": {"a": "string", "b": "string"}, "batch_rows": 3}
    found = resumed_everywhere(lambda: home_of(tmp_path, **keys))
    assert [(row["a"], row["b"]) for row in found] == list(table)


class TestNdjson:
    def test_late_columns_nested_values_and_mixed_kinds(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(blocks, "BLOCK_BYTES", 64)
        lines: list[dict[str, Any]] = [{"id": n, "s": f"{n:03}"} for n in range(10)]
        lines += [{"id": 10, "late": {"a": [1, {"b": None}]}}, {"id": 11.5, "mixed": 1}, {"mixed": "x", "last": True}]
        write(tmp_path, "a.ndjson", "\n".join(json.dumps(line) for line in lines) + "\n\n")
        home = home_of(tmp_path, format="ndjson")
        assert types(home) == {"id": "double", "s": "string", "late": "string", "mixed": "string", "last": "bool"}
        found = rows(home)
        assert found[3] == {"id": 3.0, "s": "003", "late": None, "mixed": None, "last": None}
        assert json.loads(found[10]["late"]) == {"a": [1, {"b": None}]}
        assert [row["mixed"] for row in found[-2:]] == ["1", "x"]
        assert {column.name: column.loss for column in home.describe().columns}["late"] == "nested values are JSON text"

    def test_objects_and_scalars_under_one_key_are_text(self, tmp_path: Path) -> None:
        write(tmp_path, "a.ndjson", '{"v":{"a":1}}\n{"v":[2]}\n{"v":"t"}\n{"v":true}\n')
        assert [row["v"] for row in rows(home_of(tmp_path, format="ndjson"))] == ['{"a":1}', "[2]", "t", "true"]

    def test_times_in_text_are_times(self, tmp_path: Path) -> None:
        write(tmp_path, "a.ndjson", '{"at":"2024-01-31T10:00:00Z","day":"2024-01-31","d":"1.10"}\n')
        home = home_of(tmp_path, format="ndjson", columns={"d": "decimal(5,2)"})
        assert rows(home) == [
            {"at": datetime(2024, 1, 31, 10, tzinfo=UTC), "day": date(2024, 1, 31), "d": Decimal("1.10")}
        ]

    def test_what_is_no_object_is_shown_with_its_place(self, tmp_path: Path) -> None:
        write(tmp_path, "a.ndjson", '{"id":1}\n{"id":\n')
        with pytest.raises(Unreadable, match=r"a.ndjson, line 2: it is not a JSON object"):
            home_of(tmp_path, format="ndjson").describe()

    def test_a_value_of_another_type_is_shown_with_its_place(self, tmp_path: Path) -> None:
        write(tmp_path, "a.ndjson", '{"id":1}\n\n{"id":"x"}\n')
        with pytest.raises(
            Unreadable, match=r"a.ndjson, line 3, column 'id': the value \(1 characters\) is not a valid int64"
        ):
            rows(home_of(tmp_path, format="ndjson", columns={"id": "int64"}, infer=False))

    def test_reading_goes_on_within_a_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(blocks, "BLOCK_BYTES", 64)
        write(tmp_path, "a.jsonl.gz", gzip.compress("".join(f'{{"id":{n},"v":"é"}}\n' for n in range(20)).encode()))
        found = resumed_everywhere(lambda: home_of(tmp_path, format="ndjson", batch_rows=2))
        assert [row["id"] for row in found] == list(range(20))


@pytest.fixture(params=["parquet", "csv", "ndjson"])
def things(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., FilesHome]:
    """Two files with ids, times (one of them NULL) and folders; as a function that opens them."""
    moments = [datetime(2024, 1, 31, 12, 0, second, 500_000) for second in range(6)]
    frames = {
        "year=2023/a": pl.DataFrame({"id": [1, 2, 3], "at": [moments[0], moments[5], None]}),
        "year=2024/b": pl.DataFrame({"id": [4, 5, 6], "at": [moments[3], moments[5], moments[1]]}),
    }
    for name, frame in frames.items():
        path = tmp_path / f"{name}.{request.param}"
        path.parent.mkdir(parents=True, exist_ok=True)
        match request.param:
            case "parquet":
                frame.write_parquet(path, row_group_size=2)
            case "csv":
                frame.write_csv(path, datetime_format="%Y-%m-%dT%H:%M:%S%.6f")
            case _:
                path.write_text("".join(json.dumps(row, default=datetime.isoformat) + "\n" for row in frame.to_dicts()))
    return lambda **keys: home_of(tmp_path, "**", format=request.param, **keys)


def write_rows(root: Path, name: str, format_: str, rows: Sequence[dict[str, Any]]) -> Path:
    """A file of rows that all have the keys of the first, in the format that its ending says."""
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    if format_ == "parquet":
        return write_parquet(root, f"{name}.parquet", columns)
    if format_ == "ndjson":
        return write(root, f"{name}.ndjson", "".join(json.dumps(row) + "\n" for row in rows))
    lines = [",".join(columns), *(",".join(map(str, row.values())) for row in rows)]
    return write(root, f"{name}.csv", "\n".join(lines) + "\n")


class TestNamesInAnotherCase:
    """Columns whose names differ in case alone: what becomes of rows of some files."""

    CASES: ClassVar[list[tuple[list[dict[str, Any]], dict[str, Any], list[dict[str, Any]] | str]]] = [
        ([{"id": 1, "v": "a"}, {"V": "b", "ID": 2}], {}, [{"id": 1, "v": "a"}, {"id": 2, "v": "b"}]),
        ([{"ID": 1}, {"id": 2}, {"Id": 3}], {"key": ["id"]}, [{"ID": 1}, {"ID": 2}, {"ID": 3}]),
        ([{"id": 1.5}, {"ID": 2.5}, {"id": 3.5}], {}, [{"id": 1.5}, {"id": 2.5}, {"id": 3.5}]),
        # One row has both: they are two columns, in all files.
        ([{"id": 1, "ID": 5}, {"ID": 2}], {}, [{"id": 1, "ID": 5}, {"id": None, "ID": 2}]),
        ([{"id": 1}, {"id": 2, "ID": 5}], {}, [{"id": 1, "ID": None}, {"id": 2, "ID": 5}]),
        ([{"id": 1}, {"Id": 2, "ID": 5}], {}, r"a\.\w+ has a column 'id', and b\.\w+ has both 'ID' and 'Id'"),
        # So they are where the settings name both.
        (
            [{"id": 1}, {"ID": 2}],
            {"columns": {"id": "int64", "ID": "int64"}},
            [{"id": 1, "ID": None}, {"id": None, "ID": 2}],
        ),
        ([{"id": 1}, {"ID": 2}], {"columns": {"ID": "int64"}, "infer": False}, [{"id": 1}, {"id": 2}]),
        ([{"id": 1}], {"columns": {"id": "int64", "Id": "int64"}}, "names 'id' twice, once as 'Id'"),
        ([{"id": 1, "ID": 5}], {"columns": {"Id": "int64"}}, "names 'Id', which may be 'id' or 'ID'"),
        ([{"id": 1, "ID": 5}, {"ID": 2}], {"columns": {"id": "int64"}, "infer": False}, [{"id": 1}, {"id": None}]),
        # These differ in more than case.
        ([{"ss": 1}, {"ß": 2}], {}, [{"ss": 1, "ß": None}, {"ss": None, "ß": 2}]),
    ]

    @pytest.mark.parametrize("format_", ["csv", "ndjson", "parquet"])
    def test_they_are_one_column_unless_a_row_has_both(self, tmp_path: Path, format_: str) -> None:
        for number, (files, keys, expected) in enumerate(self.CASES):
            root = tmp_path / str(number)
            for name, row in zip("abc", files, strict=False):
                write_rows(root, name, format_, [row])
            home = home_of(root, format=format_, **keys)
            if isinstance(expected, list):
                assert rows(home) == expected, files
            else:
                with pytest.raises(HomeError, match=expected):
                    home.describe()

    def test_lines_of_one_file_are_told_apart_as_files_are(self, tmp_path: Path) -> None:
        write(tmp_path, "a.ndjson", '{"id": 1}\n{"ID": {"n": [1]}}\n{"Id": null, "v": true}\n')
        found = rows(home_of(tmp_path, format="ndjson"))
        assert [row["id"] for row in found] == ["1", '{"n": [1]}', None]
        assert rows(home_of(tmp_path, format="ndjson", infer=False, columns={"Id": "string"})) == [
            {"id": row["id"]} for row in found
        ]
        assert rows(home_of(tmp_path, format="ndjson"), ReadWindow("v")) == found
        write(tmp_path, "a.ndjson", '{"id": null, "ID": 1}\n{"ID": 2}\n')
        assert rows(home_of(tmp_path, format="ndjson")) == [{"id": None, "ID": 1}, {"id": None, "ID": 2}]

    @pytest.mark.parametrize("format_", ["csv", "ndjson"])
    def test_where_files_are_not_looked_through_what_cannot_be_told_is_refused(
        self, tmp_path: Path, format_: str
    ) -> None:
        write_rows(tmp_path, "a", format_, [{"id": 1}])
        write_rows(tmp_path, "b", format_, [{"id": 2, "ID": 3}])
        with pytest.raises(Unreadable, match=r"b\.\w+.* 'id'.* 'ID'"):
            rows(home_of(tmp_path, format=format_, infer=False, columns={"id": "int64"}))

    def test_a_watermark_spelt_in_two_ways_is_one(self, tmp_path: Path) -> None:
        for format_ in ("csv", "ndjson", "parquet"):
            write_rows(tmp_path, "a", format_, [{"id": 1, "at": 3}])
            write_rows(tmp_path, "b", format_, [{"ID": 2, "AT": 7}])
            home = home_of(tmp_path, f"*.{format_}", format=format_)
            assert home.high_water("at").value == "7"
            assert rows(home, ReadWindow("At", "3", "7")) == [{"id": 2, "at": 7}]


class TestWatermarks:
    def test_by_a_time(self, things: Callable[..., FilesHome]) -> None:
        home = things()
        high = home.high_water("AT")
        assert (high.value, high.type, high.ties, high.null_cursors) == (
            "2024-01-31T12:00:05.500000+00:00",
            "datetime",
            2,
            1,
        )
        lower = "2024-01-31T12:00:01.500000+00:00"
        assert [row["id"] for row in rows(home, ReadWindow("at", lower, high.value))] == [2, 4, 5]
        assert [row["id"] for row in rows(home, ReadWindow("at", lower, high.value, lower_inclusive=True))] == [
            2,
            4,
            5,
            6,
        ]
        assert [row["id"] for row in rows(home, ReadWindow("at", None, lower))] == [1, 3, 6]  # and the NULL
        assert home.count_at("at", lower) == 1

    def test_by_a_number_and_by_a_folder(self, things: Callable[..., FilesHome]) -> None:
        home = things()
        assert (home.high_water("id").value, home.high_water("id").type) == ("6", "int")
        assert [row["id"] for row in rows(home, ReadWindow("id", "2", "4"))] == [3, 4]
        assert (home.high_water("year").value, home.high_water("year").ties) == ("2024", 3)
        assert [row["id"] for row in rows(home, ReadWindow("year", "2023", "2024"))] == [4, 5, 6]

    def test_by_files(self, things: Callable[..., FilesHome], tmp_path: Path) -> None:
        first, second = sorted(path for path in tmp_path.rglob("*") if path.is_file())
        for path, seconds in ((first, 1_000), (second, 2_000)):
            os.utime(path, (seconds, seconds))
        high = things().high_water(FILE_MODIFIED)
        assert (high.value, high.ties) == ("1970-01-01T00:33:20.000000+00:00", 1)
        window = ReadWindow(FILE_MODIFIED, "1970-01-01T00:16:40+00:00", high.value, known=high.boundary)
        assert [row["id"] for row in rows(things(), window)] == [4, 5, 6]
        os.utime(first, (2_000, 2_000))  # the same time, but found after the bound was fixed
        assert [row["id"] for row in rows(things(), window)] == [4, 5, 6]
        later = things().high_water(FILE_MODIFIED)
        again = ReadWindow(
            FILE_MODIFIED, high.value, later.value, lower_inclusive=True, landed=high.boundary, known=later.boundary
        )
        assert [row["id"] for row in rows(things(), again)] == [1, 2, 3]

    def test_what_cannot_be_a_cursor_is_refused_with_the_reason(self, tmp_path: Path) -> None:
        columns = {"f": [1.5], "b": [True], "t": pa.array([1], pa.time32("s")), "l": [[1]], "d": [Decimal("1.5")]}
        write_parquet(tmp_path, "t.parquet", columns)
        reasons = {"f": "inexact", "b": "two values", "t": "starts again every day", "l": "nested", "d": "no order"}
        for name, reason in reasons.items():
            with pytest.raises(CursorUnusable, match=reason):
                home_of(tmp_path).high_water(name)
        with pytest.raises(HomeNotFound, match="no column 'x'"):
            home_of(tmp_path).high_water("x")

    def test_statistics_are_not_needed(self, tmp_path: Path) -> None:
        write_parquet(tmp_path, "t.parquet", {"s": ["b", "c" * 100, None], "n": [1, 3, 2]}, write_statistics=False)
        assert home_of(tmp_path).high_water("n").value == "3"
        high = home_of(tmp_path).high_water("s")
        assert (high.value, high.type, high.null_cursors) == ("c" * 100, "string", 1)


class _ChangingLook:
    """A look at an open file, before or after one of which the file changes: after every second ``moment``."""

    def __init__(self, look: Callable[[int], os.stat_result], moment: int, change: Callable[[], object]) -> None:
        self._look, self._moment, self._change = look, moment, change
        self._looks = 0
        self.has_changed = False

    def __call__(self, descriptor: int) -> os.stat_result:
        self._change_at(2 * self._looks)
        found = self._look(descriptor)
        self._change_at(2 * self._looks + 1)
        self._looks += 1
        return found

    def _change_at(self, moment: int) -> None:
        if moment == self._moment:
            self.has_changed = True
            self._change()


class TestChangedFiles:
    def test_a_file_that_was_read_in_part_and_changed_stops_the_reading(
        self, things: Callable[..., FilesHome], tmp_path: Path
    ) -> None:
        first, _ = sorted(path for path in tmp_path.rglob("*") if path.is_file())
        position = next(iter(things(batch_rows=1).read(ReadWindow()))).position
        first.write_bytes(first.read_bytes())
        os.utime(first, (1, 1))
        with pytest.raises(SourceChanged, match=first.name):
            rows(things(), after=position)

    def test_a_file_that_was_read_whole_may_change(self, things: Callable[..., FilesHome], tmp_path: Path) -> None:
        first, _ = sorted(path for path in tmp_path.rglob("*") if path.is_file())
        position = next(
            batch.position for batch in things().read(ReadWindow()) if batch.position and batch.position[2] == "end"
        )
        first.unlink()
        assert [row["id"] for row in rows(things(), after=position)] == [4, 5, 6]

    def test_a_file_that_changes_while_it_is_read_is_read_again_later(self, tmp_path: Path) -> None:
        write_parquet(tmp_path, "t.parquet", {"id": list(range(100))}, row_group_size=10)
        home = home_of(tmp_path)
        batches = home.read(ReadWindow())
        next(batches)
        write_parquet(tmp_path, "t.parquet", {"id": list(range(200))}, row_group_size=10)
        with pytest.raises(HomeUnavailable, match="changed while it was being read"):
            list(batches)

    @pytest.mark.parametrize("format_", ["csv", "csv.gz", "ndjson.zst", "ndjson", "parquet"])
    def test_no_row_is_lost_or_doubled_whenever_a_file_changes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format_: str
    ) -> None:
        """Whenever it is looked at, and in whichever way: the rows are those of one version, or the file is named."""
        monkeypatch.setattr(blocks, "BLOCK_BYTES", 160)
        old, new = (self._version(tmp_path, format_, first) for first in (100, 700))
        path = tmp_path / "in" / f"a.{format_}"
        path.parent.mkdir()
        changes: list[Callable[[], object]] = [
            lambda: path.write_bytes(new),
            lambda: path.write_bytes(old + old),
            lambda: os.truncate(path, len(old) // 2),
            lambda: os.truncate(path, 0),
            lambda: os.replace(write(tmp_path, "new", new), path),
            path.unlink,
        ]
        for change in changes:
            for moment in count():
                path.write_bytes(old)
                look = _ChangingLook(os.fstat, moment, change)
                with monkeypatch.context() as patched:
                    patched.setattr(os, "fstat", look)
                    found = self._ids_or_refusal(tmp_path / "in", format_)
                assert found == list(range(100, 140)) or f"a.{format_}" in str(found), (moment, found)
                if not look.has_changed:
                    break

    def _ids_or_refusal(self, root: Path, format_: str) -> list[int] | str:
        try:
            return [row["id"] for row in rows(home_of(root, format=format_.partition(".")[0]))]
        except HomeUnavailable as error:
            return error.message

    def _version(self, root: Path, format_: str, first: int) -> bytes:
        """A version of a file, of the same length whatever its first row."""
        name, _, packed = format_.partition(".")
        path = write_rows(root / "versions", "v", name, [{"id": number} for number in range(first, first + 40)])
        data = path.read_bytes()
        if not packed:
            return data
        return gzip.compress(data) if packed == "gz" else bytes(pa.compress(data, codec="zstd", asbytes=True))


def test_the_key_is_one_of_the_columns(tmp_path: Path) -> None:
    write_parquet(tmp_path, "t.parquet", {"id": [1]})
    table = home_of(tmp_path, key=["id"]).describe()
    assert (table.key, table.resumable) == (("id",), True)
    with pytest.raises(HomeNotFound, match="no column 'nr' and no column 'ix', which key names") as caught:
        home_of(tmp_path, key=["nr", "ix"]).describe()
    assert "`id` for `ix`" in caught.value.hint or "Known: id" in caught.value.hint


def test_more_files_than_a_slice_can_keep_in_mind_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        (tmp_path / f"{number}.csv").write_text("id\n1\n")
    monkeypatch.setattr(listing, "FILES_LIMIT", 4)
    assert len(listing.list_files(LocalLake(tmp_path), "*.csv", "csv", partitions=False).files) == 4
    monkeypatch.setattr(listing, "FILES_LIMIT", 3)
    with pytest.raises(HomeError, match="more than 3 files"):
        listing.list_files(LocalLake(tmp_path), "*.csv", "csv", partitions=False)


@pytest.mark.parametrize(
    ("column", "blurs"),
    [
        ({"type": "timestamp"}, False),
        ({"type": "timestamp", "format": "%Y-%m-%dT%H:%M:%S.%f"}, False),
        ({"type": "timestamp", "epoch": 1900}, True),
        ({"type": "date", "epoch": 1900}, False),
        ({"type": "decimal(20,6)"}, False),
    ],
)
def test_no_text_that_could_be_a_key_loses_digits_unseen(tmp_path: Path, column: dict[str, Any], blurs: bool) -> None:
    serial = column["type"] != "timestamp" or "epoch" in column
    last = "45000.1234567891234" if serial else "2024-01-01T00:00:00.1234567"
    first = "45000" if serial else "2024-01-01T00:00:00.123456"
    (tmp_path / "t.csv").write_text(f"v\n{first}\n{last}\n")
    home = home_of(tmp_path, "t.csv", format="csv", columns={"v": column})
    assert [each.blurs for each in home.describe().columns] == [blurs]
    if not blurs:
        with pytest.raises(Unreadable, match=r"t\.csv"):
            rows(home)  # a value that has no place is refused, not rounded


def test_zeros_behind_a_gzip_member_are_padding_and_anything_else_is_damage(tmp_path: Path) -> None:
    whole = gzip.compress(b"id\n1\n") + gzip.compress(b"2\n")
    for padding in (b"", b"\0", b"\0" * 20_000):
        write(tmp_path, "t.csv.gz", whole + padding)
        (batch,) = home_of(tmp_path, "t.csv.gz", format="csv").read(ReadWindow())
        assert batch.rows.column("id").to_pylist() == [1, 2]
    for rest in (b"x", b"\0\0x", b"\x1f\x8b", whole[:-1]):
        write(tmp_path, "t.csv.gz", whole + rest)
        with pytest.raises(Unreadable, match=r"t\.csv\.gz cannot be decompressed"):
            list(home_of(tmp_path, "t.csv.gz", format="csv").read(ReadWindow()))


def special_files(root: Path) -> None:
    os.mkfifo(root / "fifo.csv")
    (root / "device.csv").symlink_to("/dev/zero")
    (root / "dangling.csv").symlink_to("nowhere.csv")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "socket.csv"))


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such files")
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("fifo", "is a FIFO, not a file"),
        ("device", "is a device, not a file"),
        ("socket", "is a socket, not a file"),
        ("dangling", "is a link to nowhere.csv, and leads nowhere"),
    ],
)
@pytest.mark.parametrize("pattern", ["{}.csv", "{}*.csv"])
def test_what_is_no_file_is_told_and_never_opened(name: str, reason: str, pattern: str) -> None:
    with TemporaryDirectory() as short:  # the name of a socket has 107 bytes at most
        special_files(Path(short))
        with pytest.raises(HomeError, match=reason):
            home_of(Path(short), pattern.format(name), format="csv").describe()


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from(["a", "ab", "ba", "aab", ".a"]), min_size=1, max_size=4),
    st.lists(st.sampled_from(["**", "*", "a", "a*", "*b", "?b", "[ab]", "[!a]b", "*a*a*"]), min_size=1, max_size=5),
)
def test_globs_mean_what_they_mean_to_python(path: list[str], glob: list[str]) -> None:
    text, pattern = "/".join(path), "/".join(glob)
    assert listing._matches(text, pattern) == PurePosixPath(text).full_match(pattern)


@pytest.mark.parametrize(
    "pattern", ["*a" * 60 + "b.csv", "**/" * 60 + "b.csv", "**/*a*a*/" * 20 + "*b.csv", "*" * 200 + "b.csv"]
)
def test_no_pattern_takes_for_ever(tmp_path: Path, pattern: str) -> None:
    deep = tmp_path.joinpath(*["a" * 30] * 30)
    deep.mkdir(parents=True)
    for folder in (tmp_path, deep):
        (folder / ("a" * 200)).write_text("v\n1\n")
    with pytest.raises(HomeNotFound):
        home_of(tmp_path, pattern, format="csv").describe()
    home = LocalHomeSettings(type="local", path=pattern, format="csv")
    store = folder_on_disk(deep)
    reads = home.reads(Surroundings(tmp_path, {}), "orders")
    assert isinstance(any(each.reaches(store) for each in reads), bool)


def test_a_file_whose_name_is_a_pattern_is_told_with_the_pattern_that_means_it(tmp_path: Path) -> None:
    write(tmp_path, "t[1].csv", "id\n1\n")
    with pytest.raises(HomeNotFound) as caught:
        home_of(tmp_path, "t[1].csv", format="csv").describe()
    assert "t[[]1].csv" in caught.value.hint
    assert [file.path for file in home_of(tmp_path, "t[[]1].csv", format="csv").files] == ["t[1].csv"]


def test_a_header_that_is_no_header_is_told_in_our_words(tmp_path: Path) -> None:
    write(tmp_path, "t.csv", "x" * 1_000_000 + "\n1\n")
    with pytest.raises(Unreadable, match=r"t\.csv, line 1: a field of more than 131,072 characters"):
        home_of(tmp_path, "t.csv", format="csv").describe()


def test_a_parquet_file_with_flipped_bits_is_read_as_it_was_or_refused(tmp_path: Path) -> None:
    columns = {"id": list(range(20)), "text": [f"text {number}" for number in range(20)], "list": [[1]] * 20}
    columns["at"] = [datetime(2024, 1, 1, tzinfo=UTC)] * 20
    whole = write_parquet(tmp_path, "whole.parquet", columns, write_page_checksum=True).read_bytes()
    (rows,) = [batch.rows.to_pylist() for batch in home_of(tmp_path, "whole.parquet").read(ReadWindow())]
    chance = random.Random(7)
    refused = 0
    for number in range(300):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        write(tmp_path, f"{number}.parquet", bytes(damaged))
        try:
            (found,) = [batch.rows.to_pylist() for batch in home_of(tmp_path, f"{number}.parquet").read(ReadWindow())]
        except HomeError:
            refused += 1
        else:
            assert [list(row.values()) for row in found] == [list(row.values()) for row in rows]
    assert refused > 100


def test_keys_that_differ_from_line_to_line_are_refused_before_they_fill_the_memory(tmp_path: Path) -> None:
    write(tmp_path, "t.ndjson", "".join(f'{{"k{line}":1}}\n' for line in range(100_000)))
    with pytest.raises(Unreadable, match=r"t\.ndjson, lines 1 to \d+: each line has few of [\d,]+ keys"):
        home_of(tmp_path, "t.ndjson", format="ndjson").describe()
