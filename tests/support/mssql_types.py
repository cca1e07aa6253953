"""A column of every type, and its extremes."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

EVERY_TYPE = """
CREATE TABLE dbo.everything (
    id int NOT NULL PRIMARY KEY,
    c_bit bit, c_tinyint tinyint, c_smallint smallint, c_int int, c_bigint bigint,
    c_decimal decimal(38, 38), c_numeric numeric(20, 5), c_money money, c_smallmoney smallmoney,
    c_real real, c_float float,
    c_date date, c_datetime datetime, c_smalldatetime smalldatetime, c_datetime2 datetime2(7), c_seconds datetime2(0),
    c_offset datetimeoffset(7), c_millis datetimeoffset(3), c_time time(7), c_clock time(0),
    c_char char(5), c_varchar varchar(8000), c_varcharmax varchar(max),
    c_nchar nchar(5), c_nvarchar nvarchar(4000), c_nvarcharmax nvarchar(max), c_text text, c_ntext ntext, c_xml xml,
    c_binary binary(4), c_varbinary varbinary(8000), c_varbinarymax varbinary(max), c_image image,
    c_guid uniqueidentifier, c_variant sql_variant, c_rowversion rowversion, c_computed AS c_int + 1)
"""

# (column, T-SQL of the value, what arrives): three rows of extremes.
EXTREMES: dict[str, tuple[tuple[str, object], ...]] = {
    "c_bit": (("1", True), ("0", False), ("1", True)),
    "c_tinyint": (("0", 0), ("255", 255), ("1", 1)),
    "c_smallint": (("-32768", -32768), ("32767", 32767), ("0", 0)),
    "c_int": (("-2147483648", -(2**31)), ("2147483646", 2**31 - 2), ("0", 0)),
    "c_bigint": (("-9223372036854775808", -(2**63)), ("9223372036854775807", 2**63 - 1), ("0", 0)),
    "c_decimal": (
        ("'-0.99999999999999999999999999999999999999'", Decimal("-0.99999999999999999999999999999999999999")),
        ("'0.00000000000000000000000000000000000001'", Decimal("1E-38")),
        ("'0'", Decimal("0E-38")),
    ),
    "c_numeric": (
        ("123456789012345.12345", Decimal("123456789012345.12345")),
        ("-0.00001", Decimal("-0.00001")),
        ("0", Decimal("0.00000")),
    ),
    "c_money": (
        ("-922337203685477.5808", Decimal("-922337203685477.5808")),
        ("922337203685477.5807", Decimal("922337203685477.5807")),
        ("0.0001", Decimal("0.0001")),
    ),
    "c_smallmoney": (
        ("-214748.3648", Decimal("-214748.3648")),
        ("214748.3647", Decimal("214748.3647")),
        ("1", Decimal("1.0000")),
    ),
    "c_real": (("-3.5", -3.5), ("1.5E-30", pytest.approx(1.5e-30)), ("0", 0.0)),
    "c_float": (
        ("-1.7976931348623157E308", -1.7976931348623157e308),
        ("2.2250738585072014E-308", 2.2250738585072014e-308),
        ("-0.0E0", -0.0),
    ),
    "c_date": (
        ("'0001-01-01'", date(1, 1, 1)),
        ("'9999-12-31'", date(9999, 12, 31)),
        ("'2000-02-29'", date(2000, 2, 29)),
    ),
    "c_datetime": (
        ("'1753-01-01T00:00:00.003'", datetime(1753, 1, 1, 0, 0, 0, 3000, UTC)),
        ("'9999-12-31T23:59:59.997'", datetime(9999, 12, 31, 23, 59, 59, 997000, UTC)),
        ("'2013-01-01T12:00:00.007'", datetime(2013, 1, 1, 12, 0, 0, 7000, UTC)),
    ),
    "c_smalldatetime": (
        ("'1900-01-01T00:00:00'", datetime(1900, 1, 1, tzinfo=UTC)),
        ("'2079-06-06T23:59:00'", datetime(2079, 6, 6, 23, 59, tzinfo=UTC)),
        ("'2013-01-01T12:34:00'", datetime(2013, 1, 1, 12, 34, tzinfo=UTC)),
    ),
    "c_datetime2": (
        ("'0001-01-01T00:00:00.1234567'", datetime(1, 1, 1, 0, 0, 0, 123456, UTC)),
        ("'9999-12-31T23:59:59.9999999'", datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)),
        ("'2013-01-01T12:34:56'", datetime(2013, 1, 1, 12, 34, 56, tzinfo=UTC)),
    ),
    "c_seconds": (
        ("'0001-01-01T00:00:00'", datetime(1, 1, 1, tzinfo=UTC)),
        ("'9999-12-31T23:59:59'", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("'2013-01-01T12:34:56'", datetime(2013, 1, 1, 12, 34, 56, tzinfo=UTC)),
    ),
    "c_offset": (
        ("'2013-01-01T00:00:00.1234567+14:00'", datetime(2012, 12, 31, 10, 0, 0, 123456, UTC)),
        ("'2013-01-01T00:00:00.1234567-14:00'", datetime(2013, 1, 1, 14, 0, 0, 123456, UTC)),
        ("'0001-01-01T00:00:00+00:00'", datetime(1, 1, 1, tzinfo=UTC)),
    ),
    "c_millis": (
        ("'2013-01-01T00:00:00.123+05:30'", datetime(2012, 12, 31, 18, 30, 0, 123000, UTC)),
        ("'2013-01-01T00:00:00-03:30'", datetime(2013, 1, 1, 3, 30, tzinfo=UTC)),
        ("'9999-12-31T23:59:59.999+00:00'", datetime(9999, 12, 31, 23, 59, 59, 999000, UTC)),
    ),
    "c_time": (
        ("'00:00:00'", "00:00:00.0000000"),
        ("'23:59:59.9999999'", "23:59:59.9999999"),
        ("'12:34:56.5'", "12:34:56.5000000"),
    ),
    "c_clock": (("'00:00:00'", "00:00:00"), ("'23:59:59'", "23:59:59"), ("'12:34:56'", "12:34:56")),
    "c_char": (("'ab'", "ab   "), ("''", "     "), ("'abcde'", "abcde")),
    "c_varchar": (("''", ""), ("REPLICATE('x', 8000)", "x" * 8000), ("' a '", " a ")),
    "c_varcharmax": (("''", ""), ("REPLICATE(CAST('y' AS varchar(max)), 100000)", "y" * 100_000), ("'a'", "a")),
    "c_nchar": (("N'é'", "é    "), ("N''", "     "), ("N'ΑΒΓΔΕ'", "ΑΒΓΔΕ")),
    "c_nvarchar": (("N'😀'", "😀"), ("N''", ""), ("REPLICATE(N'ß', 4000)", "ß" * 4000)),
    "c_nvarcharmax": (("N''", ""), ("REPLICATE(CAST(N'é' AS nvarchar(max)), 100000)", "é" * 100_000), ("N'a'", "a")),
    "c_text": (("' '", " "), ("'text'", "text"), ("''", "")),
    "c_ntext": (("N'ñ'", "ñ"), ("N'n'", "n"), ("N''", "")),
    "c_xml": (("'<a b=\"1\"/>'", '<a b="1"/>'), ("'<x>é</x>'", "<x>é</x>"), ("''", "")),
    "c_binary": (("0x01020304", b"\1\2\3\4"), ("0x00000000", b"\0\0\0\0"), ("0xFFFFFFFF", b"\xff\xff\xff\xff")),
    "c_varbinary": (
        ("0x", b""),
        ("0x00FF", b"\0\xff"),
        ("CAST(REPLICATE('z', 8000) AS varbinary(8000))", b"z" * 8000),
    ),
    "c_varbinarymax": (("0x", b""), ("0x00FF", b"\0\xff"), ("0x01", b"\1")),
    "c_image": (("0x01", b"\1"), ("0x00FF", b"\0\xff"), ("0x02", b"\2")),
    "c_guid": (
        ("'6f9619ff-8b86-d011-b42d-00c04fc964ff'", "6F9619FF-8B86-D011-B42D-00C04FC964FF"),
        ("'00000000-0000-0000-0000-000000000000'", "00000000-0000-0000-0000-000000000000"),
        ("'ffffffff-ffff-ffff-ffff-ffffffffffff'", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"),
    ),
    "c_variant": (("CAST(1.50 AS decimal(5, 2))", "1.50"), ("N'é'", "é"), ("CAST(7 AS int)", "7")),
}
