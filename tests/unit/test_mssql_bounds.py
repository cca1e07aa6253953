"""Bounds that people write: each is kept to its last digit in the column's own type, or refused with what would fit."""

from __future__ import annotations

from contextlib import suppress

import pytest

from hygge_engine.errors import BoundUnusable
from hygge_engine.homes.mssql.bounds import bound_text
from hygge_engine.homes.mssql.types import SourceColumn
from hygge_engine.homes.mssql.values import parameter

COLUMNS = {
    "tinyint": SourceColumn("c", "tinyint"),
    "smallint": SourceColumn("c", "smallint"),
    "int": SourceColumn("c", "int"),
    "bigint": SourceColumn("c", "bigint"),
    "decimal(5,0)": SourceColumn("c", "decimal", precision=5),
    "date": SourceColumn("c", "date"),
    "datetime": SourceColumn("c", "datetime"),
    "smalldatetime": SourceColumn("c", "smalldatetime"),
    "datetime2(0)": SourceColumn("c", "datetime2"),
    "datetime2(3)": SourceColumn("c", "datetime2", scale=3),
    "datetime2(7)": SourceColumn("c", "datetime2", scale=7),
    "datetimeoffset(7)": SourceColumn("c", "datetimeoffset", scale=7),
    "varchar(3)": SourceColumn("c", "varchar", 3),
    "nvarchar(3)": SourceColumn("c", "nvarchar", 6),
    "rowversion": SourceColumn("c", "timestamp"),
}

FITS = [
    ("tinyint", "255", "255"),
    ("int", " -0007 ", "-7"),
    ("bigint", "+9223372036854775807", "9223372036854775807"),
    ("decimal(5,0)", "-99999", "-99999"),
    ("date", "2024-02-29", "2024-02-29"),
    ("date", "2024-02-29T00:00:00.000", "2024-02-29"),
    ("datetime", "2024-01-02", "2024-01-02T00:00:00.000"),
    ("datetime", "2024-01-02 10:00", "2024-01-02T10:00:00.000"),
    ("datetime", "2024-01-02T10:00:00.0070000", "2024-01-02T10:00:00.007"),
    ("datetime", "9999-12-31T23:59:59.997", "9999-12-31T23:59:59.997"),
    ("smalldatetime", "2079-06-06T23:59:00", "2079-06-06T23:59"),
    ("datetime2(0)", "0001-01-01", "0001-01-01T00:00:00"),
    ("datetime2(3)", "2024-01-02T10:00:00.1200000", "2024-01-02T10:00:00.120"),
    ("datetime2(7)", "9999-12-31T23:59:59.9999999", "9999-12-31T23:59:59.9999999"),
    ("datetimeoffset(7)", "2024-01-02T00:30:00.0000001+01:00", "2024-01-01T23:30:00.0000001+00:00"),
    ("datetimeoffset(7)", "2024-01-02T10:00:00Z", "2024-01-02T10:00:00.0000000+00:00"),
    ("datetimeoffset(7)", "2024-01-02T10:00:00", "2024-01-02T10:00:00.0000000+00:00"),
    ("varchar(3)", "abc", "abc"),
    ("nvarchar(3)", "ä ß", "ä ß"),
    ("rowversion", "0x7d1", "0x00000000000007D1"),
    ("rowversion", "0xFFFFFFFFFFFFFFFF", "0xFFFFFFFFFFFFFFFF"),
]

REFUSED = [
    ("tinyint", "256", "from 0 to 255"),
    ("tinyint", "-1", "from 0 to 255"),
    ("smallint", "40000", "from -32768 to 32767"),
    ("int", "2147483648", "to 2147483647"),
    ("int", "9" * 5000, "to 2147483647"),
    ("int", "1_000", "a whole number"),
    ("int", "٣", "a whole number"),
    ("int", "7.5", "a whole number"),
    ("int", "2024-01-01", "a whole number"),
    ("bigint", "9223372036854775808", "to 9223372036854775807"),
    ("decimal(5,0)", "100000", "from -99999 to 99999"),
    ("date", "2024-01-02T10:00:00", "a day: 2024-01-02"),
    ("date", "2024-02-30", "ISO 8601"),
    ("datetime", "2024-01-02T10:00:00Z", "the column counts: 2024-01-02T10:00:00"),
    ("datetime", "2024-01-02T10:00:00+02:00", "the column counts: 2024-01-02T10:00:00"),
    ("datetime", "1752-12-31", "from 1753-01-01"),
    ("datetime", "2024-01-02T10:00:00.1234", "with no more: 2024-01-02T10:00:00.123"),
    ("datetime", "2024-01-02T10:00:00.001", "10:00:00.000 or 2024-01-02T10:00:00.003"),
    ("datetime", "2024-01-02T10:00:00.999", "10:00:00.997 or 2024-01-02T10:00:01.000"),
    ("datetime", "9999-12-31T23:59:59.999", "Write 9999-12-31T23:59:59.997."),
    ("datetime", "9999-12-31T23:59:59.996", "59.993 or 9999-12-31T23:59:59.997"),
    ("datetime", "1753-01-01T00:00:00.001", "1753-01-01T00:00:00.000 or 1753-01-01T00:00:00.003"),
    ("smalldatetime", "1899-12-31", "from 1900-01-01"),
    ("smalldatetime", "2079-06-07", "to 2079-06-06T23:59"),
    ("smalldatetime", "2024-01-02T10:00:30", "a minute: 2024-01-02T10:00"),
    ("datetime2(0)", "2024-01-02T10:00:00.1", "with no more"),
    ("datetime2(3)", "2024-01-02T10:00:00.1234", "with no more: 2024-01-02T10:00:00.123"),
    ("datetime2(7)", "2024-01-02T10:00:00.12345678", "with no more"),
    ("datetime2(7)", "0000-01-01", "ISO 8601"),
    ("datetime2(7)", "2024-01-02T24:00", "ISO 8601"),
    ("datetime2(7)", "yesterday", "ISO 8601"),
    ("datetime2(7)", "5", "ISO 8601"),
    ("datetimeoffset(7)", "0001-01-01T00:00:00+14:00", "from 0001-01-01"),
    ("datetimeoffset(7)", "9999-12-31T23:59:59-14:00", "to 9999-12-31"),
    ("datetimeoffset(7)", "2024-01-02T10:00:00+25:00", "ISO 8601"),
    ("varchar(3)", "abcd", "3 characters"),
    ("nvarchar(3)", "a🐟b", "3 characters"),
    ("nvarchar(3)", "\ud800", "Unicode"),
    ("nvarchar(3)", "a\0", "Leave it out"),
    ("rowversion", "7D1", "hexadecimal"),
    ("rowversion", "0x", "hexadecimal"),
    ("rowversion", "0x1FFFFFFFFFFFFFFFF", "hexadecimal"),
]


@pytest.mark.parametrize(("type_", "text", "exact"), FITS)
def test_a_bound_that_fits_is_kept_to_its_last_digit(type_: str, text: str, exact: str) -> None:
    assert bound_text(COLUMNS[type_], text, upper=False) == exact


@pytest.mark.parametrize(("type_", "text", "fits"), REFUSED, ids=range(len(REFUSED)))
def test_a_bound_that_does_not_fit_is_refused_with_what_would(type_: str, text: str, fits: str) -> None:
    with pytest.raises(BoundUnusable) as caught:
        bound_text(COLUMNS[type_], text, upper=True)
    assert fits in caught.value.hint
    assert len(caught.value.message) < 200


@pytest.mark.parametrize("type_", COLUMNS)
@pytest.mark.parametrize("day", ["0001-01-01", "1753-01-01", "1900-01-01", "2079-06-06", "9999-12-31"])
@pytest.mark.parametrize("offset", ["", "Z", "+14:00", "-14:00"])
def test_the_first_and_the_last_moments_fit_or_are_refused(type_: str, day: str, offset: str) -> None:
    for clock in (
        "00:00:00",
        "23:59:59",
        *(
            f"{second}.{digits:03}"
            for second in ("00:00:00", "23:59:59")
            for digits in (1, 2, 3, 4, 995, 996, 997, 998, 999)
        ),
        "23:59:59.9999999",
    ):
        with suppress(BoundUnusable):
            exact = bound_text(COLUMNS[type_], f"{day}T{clock}{offset}", upper=True)
            if "char" not in type_:
                parameter(COLUMNS[type_], exact)


def test_a_window_of_rowversions_ends_after_its_upper_bound() -> None:
    rowversion = COLUMNS["rowversion"]
    assert bound_text(rowversion, "0x00000000000007FF", upper=True) == "0x0000000000000800"
    assert bound_text(rowversion, "0xFFFFFFFFFFFFFFFF", upper=True) == "0xFFFFFFFFFFFFFFFF"
