"""What polish makes of a table and its rows, and what it refuses before the first row is read."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from hygge_engine.errors import ConfigurationError, HomeNotFound
from hygge_engine.flow.planner import spelling_of
from hygge_engine.homes.base import Column, SourceSchema
from hygge_engine.polish.names import Case, convert_case, split_words
from hygge_engine.polish.plan import polish_of
from hygge_engine.polish.polish import LoadStamp, Polish
from hygge_engine.project.models.polish import PolishSettings
from tests.unit.project_files import FLOW, find_problems, load

STARTED = datetime(2024, 1, 31, 12, tzinfo=UTC)
STAMP = LoadStamp("load-1", STARTED)
SALT = "a grain of salt"

COLUMNS: dict[str, tuple[pa.DataType, Any]] = {
    "CustomerID": (pa.int64(), 7),
    "EMail": (pa.string(), " jane@example.com "),
    "card_no": (pa.string(), "4111111111111111"),
    "amount": (pa.decimal128(10, 2), Decimal("1.50")),
    "born": (pa.date32(), date(1970, 1, 2)),
    "seen": (pa.timestamp("us", tz="UTC"), STARTED),
    "photo": (pa.binary(), b"\x00\xff"),
    "active": (pa.bool_(), True),
    "ratio": (pa.float64(), 0.5),
    "tags": (pa.list_(pa.string()), ["a"]),
}
TABLE = SourceSchema(
    "dbo.Customers",
    tuple(Column(name, type_, str(type_)) for name, (type_, _) in COLUMNS.items()),
    key=("CustomerID",),
)


def settings(**keys: Any) -> PolishSettings:
    return PolishSettings.model_validate({"hash_salt": SALT} | keys)


def polish(**keys: Any) -> Polish:
    return polish_of(TABLE, settings(**keys))


def rows(*more: dict[str, Any]) -> pa.RecordBatch:
    values = [{name: value for name, (_, value) in COLUMNS.items()}, *more]
    return pa.RecordBatch.from_pylist(values, schema=TABLE.schema)


def polished(**keys: Any) -> dict[str, Any]:
    """The first row as it lands."""
    found = polish(**keys)
    batch = found.apply(rows(), STAMP)
    assert batch.schema == found.table.schema
    return dict(batch.to_pylist()[0])


def sha256(text: str, salt: str = SALT) -> str:
    return hashlib.sha256((salt + text).encode()).hexdigest()


def test_all_of_it_in_its_order() -> None:
    assert polished(
        drop=["photo", "RATIO", "seen", "born", "active", "tags"],
        trim=True,
        mask={"email": "hash", "card_no": "last_4"},
        rename={"amount": "AMOUNT due"},
        case="snake",
        hash_ids={"Sk": ["CustomerID", "photo"]},
        constants={"source": "erp", "release": 3, "test": False},
        load_columns={"_load": "load_id", "_at": "loaded_at"},
    ) == {
        "customer_id": 7,
        "e_mail": sha256("jane@example.com"),
        "card_no": "************1111",
        "AMOUNT due": Decimal("1.50"),
        "Sk": sha256("1:7,4:00ff,"),
        "source": "erp",
        "release": 3,
        "test": False,
        "_load": "load-1",
        "_at": STARTED,
    }


def test_without_settings_a_batch_is_the_same_object() -> None:
    batch = rows()
    assert polish_of(TABLE, None).apply(batch, STAMP) is batch


def test_renames_and_drops_copy_nothing() -> None:
    batch = rows()
    found = polish(drop=["photo"], rename={"EMail": "address"}, case="camel").apply(batch, STAMP)
    before = {name: [b.address for b in batch.column(name).buffers() if b] for name in batch.schema.names}
    after = {name: [b.address for b in found.column(name).buffers() if b] for name in found.schema.names}
    assert after["address"] == before["EMail"]
    assert after["customerId"] == before["CustomerID"]
    assert "photo" not in after


@pytest.mark.parametrize(
    ("mask", "text", "shown"),
    [
        ("full", "x", "***"),
        ("full", "", "***"),
        ("email", "jane@example.com", "***@example.com"),
        ("email", "a@b@c", "***@c"),
        ("email", "jane", "***"),
        ("last_4", "12345", "*2345"),
        ("last_4", "1234", "****"),
        ("first_2", "Grüße\n", "Gr****"),
        ("first_2", "ab", "**"),
        ("empty", "x", None),
        ("hash", "", sha256("")),
    ],
)
def test_masks(mask: str, text: str, shown: str | None) -> None:
    found = polish(mask={"card_no": mask}).apply(rows({"card_no": text}, {"card_no": None}), STAMP)
    assert found.column("card_no").to_pylist()[1:] == [shown, None]


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("CustomerID", "7"),
        ("amount", "1.50"),
        ("born", "1970-01-02"),
        ("seen", "2024-01-31 12:00:00.000000Z"),
        ("photo", "00ff"),
        ("active", "true"),
    ],
)
def test_the_text_of_a_value_that_is_hashed_is_as_documented(column: str, text: str) -> None:
    assert polished(mask={column: "hash"})[column] == sha256(text)


def test_without_a_salt_surrogates_are_plain_sha_256() -> None:
    found = polish_of(TABLE, PolishSettings(hash_ids={"sk": ("amount",)}))
    assert found.apply(rows(), STAMP).column("sk").to_pylist() == [sha256("4:1.50,", salt="")]


@examples(deadline=None)
@given(st.lists(st.tuples(*[st.none() | st.text(alphabet="1:,~é", max_size=4)] * 2), max_size=30))
def test_surrogates_are_equal_where_their_values_are_and_only_there(
    values: list[tuple[str | None, str | None]],
) -> None:
    source = SourceSchema("t", (Column("a", pa.string(), "x"), Column("b", pa.string(), "x")))
    batch = pa.RecordBatch.from_pylist([{"a": a, "b": b} for a, b in values], schema=source.schema)
    found = polish_of(source, PolishSettings(hash_ids={"id": ("a", "b")})).apply(batch, STAMP).column("id").to_pylist()
    assert None not in found
    pairs = list(zip(values, found, strict=True))
    assert all((one == other) == (hash_ == other_hash) for one, hash_ in pairs for other, other_hash in pairs)


@pytest.mark.parametrize(
    ("keys", "message", "hint"),
    [
        (
            {"drop": ["foto", "zzz"], "mask": {"emial": "full"}, "hash_ids": {"a": ["foto", "foto"], "b": ["foto"]}},
            "no column `foto`, which `drop` and `hash_ids` of polish names; and none `zzz`, which `drop` of polish "
            "names; and none `emial`, which `mask` of polish names.",
            "Did you mean `photo` for `foto`, `EMail` for `emial`? Known: ",
        ),
        ({"drop": [column.name for column in TABLE.columns]}, "drops every column of", "Keep at least one"),
        ({"drop": ["foto"]}, "no column `foto`, which `drop`", "Did you mean `photo`?"),
        ({"rename": {"e-mail": "x"}}, "no column `e-mail`, which `rename`", "Did you mean `EMail`?"),
        ({"hash_ids": {"sk": ["customer"]}}, "no column `customer`, which `hash_ids`", "CustomerID"),
        ({"trim": ["born"]}, "cannot trim `born` of dbo.Customers: it holds no text", ""),
        ({"mask": {"ratio": "hash"}}, "cannot hash `ratio`", "decimal"),
        ({"mask": {"tags": "full"}}, "cannot mask `tags`", "empty"),
        ({"hash_ids": {"sk": ["tags"]}}, "cannot hash `tags`", "decimal"),
        ({"mask": {"photo": "full"}, "drop": ["PHOTO"]}, "drops `photo`, which its `mask` names", ""),
        ({"rename": {"EMail": "a", "email": "b"}}, "`rename` names `EMail` of dbo.Customers twice", ""),
        ({"rename": {"EMail": "CARD_NO"}}, "`EMail` and `card_no` would both be `card_no`", "Drop or rename"),
        ({"constants": {"active": 1}}, "`active` and the constant would both be `active`", "Drop or rename"),
    ],
)
def test_what_does_not_fit_the_source_is_refused(keys: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        polish(**keys)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_names_that_only_the_case_makes_equal_are_refused() -> None:
    source = SourceSchema("t", (Column("order_no", pa.int64(), "x"), Column("OrderNo", pa.int64(), "x")))
    with pytest.raises(ConfigurationError, match="`order_no` and `OrderNo` would both be `orderNo`"):
        polish_of(source, PolishSettings(case="camel"))
    assert polish_of(source, PolishSettings(case="camel", rename={"order_no": "number"})).table.schema.names == [
        "number",
        "orderNo",
    ]


@pytest.mark.parametrize(
    ("keys", "named", "key"),
    [
        ({}, (), ("CustomerID",)),
        ({"rename": {"CustomerID": "id"}}, (), ("id",)),
        ({"case": "snake"}, ("CustomerID",), ("customer_id",)),
        ({"case": "snake"}, ("CUSTOMER_ID",), ("customer_id",)),
        ({"mask": {"CustomerID": "hash"}}, (), ("CustomerID",)),
        ({"hash_ids": {"sk": ["CustomerID"]}, "drop": ["CustomerID"]}, ("SK",), ("sk",)),
        ({"rename": {"EMail": "card_no", "card_no": "EMail"}}, ("EMail",), ("EMail",)),
    ],
)
def test_keys_follow(keys: dict[str, Any], named: tuple[str, ...], key: tuple[str, ...]) -> None:
    assert polish(**keys).key(named) == key


def test_a_surrogate_key_is_made_of_the_sources() -> None:
    assert polish(hash_ids={"sk": ["CustomerID", "EMail"]}).inputs_of(("sk",)) == {"CustomerID", "EMail"}


@pytest.mark.parametrize(
    ("keys", "named", "message"),
    [
        ({"drop": ["customerid"]}, (), "drops `CustomerID`, which is part of the key of dbo.Customers"),
        ({"drop": ["EMail"]}, ("EMail",), "drops `EMail`, which key_columns of the store names"),
        ({"mask": {"CustomerID": "last_1"}}, (), "masks `CustomerID`, which is part of the key"),
        ({"mask": {"CustomerID": "empty"}}, (), "masks `CustomerID`, which is part of the key"),
    ],
)
def test_keys_that_are_lost_are_refused(keys: dict[str, Any], named: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        polish(**keys).key(named)


def test_keys_are_never_trimmed() -> None:
    source = SourceSchema(
        "t", (Column("code", pa.string(), "char(4)"), Column("name", pa.string(), "x")), key=("code",)
    )
    batch = pa.RecordBatch.from_pylist([{"code": "a ", "name": " b "}], schema=source.schema)
    assert polish_of(source, PolishSettings(trim=True)).apply(batch, STAMP).to_pylist() == [{"code": "a ", "name": "b"}]
    with pytest.raises(ConfigurationError, match="trims `code`, which is part of the key"):
        polish_of(source, PolishSettings(trim=("code",)))


@pytest.mark.parametrize(
    "keys", [{"drop": ["Id"]}, {"mask": {"Id": "full"}}, {"rename": {"Id": "x"}}, {"hash_ids": {"sk": ["Id"]}}]
)
def test_a_column_that_a_setting_may_mean_is_the_only_one(keys: dict[str, Any]) -> None:
    source = SourceSchema("t", tuple(Column(name, pa.string(), "x") for name in ("ID", "id", "n")))
    with pytest.raises(ConfigurationError, match=r"`Id`, which .*, may be several columns of t") as caught:
        polish_of(source, PolishSettings(**keys))
    assert caught.value.hint == "Write one of them as it is: ID, id."
    with pytest.raises(HomeNotFound, match="several columns that differ from 'Id', which watermark names, in case"):
        spelling_of(source, ["Id"], "watermark")


def test_an_unknown_key_column_is_named() -> None:
    with pytest.raises(HomeNotFound, match="no column 'nothing', which key_columns names"):
        polish().key(("nothing",))


def test_what_is_done_is_told_in_words() -> None:
    found = polish(
        drop=["ratio"],
        trim=["EMail"],
        mask={"card_no": "last_4", "photo": "empty", "born": "hash"},
        rename={"born": "birthday"},
        constants={"source": "erp"},
        hash_ids={"sk": ["CustomerID"]},
    )
    assert found.describe() == [
        "EMail trimmed",
        "card_no masked (last_4)",
        "born → birthday hashed",
        "photo emptied",
        "adds sk (hash of CustomerID)",
        "adds source (constant)",
        "drops ratio",
    ]
    assert SALT not in repr((found, found.treatments))


@pytest.mark.parametrize(
    ("name", "snake", "camel", "pascal"),
    [
        ("CustomerID", "customer_id", "customerId", "CustomerId"),
        ("HTTPServer2Name", "http_server2_name", "httpServer2Name", "HttpServer2Name"),
        ("order no.", "order_no", "orderNo", "OrderNo"),
        ("md5_hash", "md5_hash", "md5Hash", "Md5Hash"),
        ("__etl", "etl", "etl", "Etl"),
        ("größeÄnderung", "größe_änderung", "größeÄnderung", "GrößeÄnderung"),
        ("$", "$", "$", "$"),
    ],
)
def test_case(name: str, snake: str, camel: str, pascal: str) -> None:
    assert [convert_case(name, case) for case in ("snake", "camel", "pascal")] == [snake, camel, pascal]


@examples(deadline=None)
@given(st.text(min_size=1, max_size=20), st.sampled_from(["snake", "camel", "pascal"]))
def test_snake_case_keeps_all_that_another_case_needs(name: str, case: Case) -> None:
    snake = convert_case(name, "snake")
    assert convert_case(snake, "snake") == snake
    if "".join(split_words(name)).isascii():
        assert convert_case(snake, case) == convert_case(name, case)


@examples(deadline=None)
@given(st.lists(st.sampled_from(["order_no", "OrderNo", "ORDER_NO", "order no", "a", "A", "b"]), unique=True))
def test_no_two_columns_ever_land_under_one_name(names: list[str]) -> None:
    source = SourceSchema("t", tuple(Column(name, pa.int64(), "x") for name in names))
    try:
        landed = polish_of(source, PolishSettings(case="snake", constants={"c": 1})).table.schema.names
    except ConfigurationError:
        assert len({convert_case(name, "snake") for name in names}) < len(names)
    else:
        assert len({name.casefold() for name in landed}) == len(names) + 1


def test_it_is_inherited_key_by_key(tmp_path: Path) -> None:
    flow = FLOW.replace(
        "[orders, customers]", "[orders, {name: customers, polish: {case: camel, mask: {phone: full}}}]"
    )
    project = load(
        tmp_path,
        flow=flow + 'polish: { case: snake, drop: [a], mask: { email: hash }, hash_salt: "correct horse" }\n',
    )
    orders, customers = project.entities
    assert orders.polish is not None
    assert customers.polish is not None
    assert (orders.polish.case, orders.polish.drop, orders.polish.mask) == ("snake", ("a",), {"email": "hash"})
    assert (customers.polish.case, customers.polish.drop) == ("camel", ("a",))
    assert customers.polish.mask == {"email": "hash", "phone": "full"}
    assert orders.polish.salt == b"correct horse"


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("mask: { a: hash }", "takes a `hash_salt`"),
        ("mask: { a: half }", "`half` is not a mask"),
        ("case: SNAKE", "`case` of polish has a value that cannot be used"),
        ("load_columns: { a: now }", "`load_columns.a` of polish has a value that cannot be used"),
        ("hash_salt: abc", "`hash_salt` of polish has a value that cannot be used"),
        ("rename_: { a: b }", "polish has no key `rename_`"),
    ],
)
def test_mistakes_are_told_with_their_place(tmp_path: Path, section: str, message: str) -> None:
    (problem,) = find_problems(tmp_path, flow=f"{FLOW}polish: {{ {section} }}\n")
    assert message in str(problem)
    assert problem.line == FLOW.count("\n") + 1
    assert "abc" not in problem.render()


def folding(folding: str, *texts: str | None, **keys: Any) -> list[Any]:
    column = Column("code", pa.string(), "nvarchar(9)", folding=folding)  # type: ignore[arg-type]
    table = SourceSchema("dbo.t", (column,), key=("code",))
    found = polish_of(table, PolishSettings.model_validate({"fold": True} | keys))
    batch = pa.RecordBatch.from_pydict({"code": list(texts)}, schema=table.schema)
    return list(found.apply(batch, STAMP).column(0).to_pylist())


def test_texts_that_are_one_to_the_source_land_as_one() -> None:
    assert folding("case", "abc", "Abc ", "żÓŁĆ  ", None) == ["ABC", "ABC", "ŻÓŁĆ", None]
    assert folding("blanks", "abc ", "Abc") == ["abc", "Abc"]
    assert folding("turkic", "a\u0131i", "aI\u0130") == ["A\u0131i", "AI\u0130"]


@examples(max_examples=300, deadline=None)
@given(st.text(max_size=5), st.text(max_size=5), st.sampled_from(["case", "turkic", "blanks"]))
def test_folding_makes_no_two_texts_one_that_differ_in_more_than_case_and_blanks(
    one: str, other: str, how: str
) -> None:
    for left, right in ((one, other), (one, one.swapcase()), (one, one.upper()), (one, one.lower() + " ")):
        first, second = folding(how, left, right)
        assert first != second or left.rstrip(" ").lower() == right.rstrip(" ").lower()


def test_a_text_whose_source_tells_all_apart_is_not_folded() -> None:
    assert folding("", "abc", "ABC ") == ["abc", "ABC "]
    with pytest.raises(ConfigurationError, match="cannot fold `code`"):
        folding("", "abc", fold=["code"])


def test_a_folded_key_may_be_hashed_and_another_folding_counts_as_another_treatment() -> None:
    hashes = folding("case", "abc", "ABC ", mask={"code": "hash"}, hash_salt=SALT)
    assert hashes == [hashlib.sha256(f"{SALT}ABC".encode()).hexdigest()] * 2
    column = Column("code", pa.string(), "nvarchar(9)", folding="case")
    table = SourceSchema("dbo.t", (column,), key=("code",))
    assert polish_of(table, settings(fold=True)).treatments == {"code": "folded (case)"}
    assert polish_of(table, settings(fold=True)).describe() == ["code folded (case)"]
