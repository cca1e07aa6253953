"""The registry of secrets: what is in it is shown by nothing, however it is written."""

from __future__ import annotations

import base64
import html
import json
import logging
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape

import pytest
from azure.core.credentials import AccessToken
from azure.core.pipeline import PipelineContext, PipelineRequest
from azure.core.pipeline.policies import BearerTokenCredentialPolicy
from azure.core.rest import HttpRequest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from hygge_engine.errors import HyggeError, InvalidRequest
from hygge_engine.lake.credentials import credential_of
from hygge_engine.lake.settings import LakeCredential, LakeSettings
from hygge_engine.masking import (
    MASK,
    mask,
    mask_names,
    mask_places,
    remember_name,
    remember_place,
    remember_secret,
)
from hygge_engine.plain_text import is_commanding, lines_of, one_line
from hygge_engine.telemetry import add_ids_to_logs
from hygge_engine.telemetry.log_ids import JsonFormatter
from hygge_engine.web.responses import Response

SECRET = "p}ä'ss \"w]rd\\%+x"


@pytest.mark.parametrize(
    "written",
    [
        SECRET,
        quote(SECRET),
        quote(SECRET, safe=""),
        quote_plus(SECRET),
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        repr(SECRET),
        SECRET.replace("}", "}}"),
        SECRET.replace("'", "''"),
        SECRET.replace("]", "]]"),
        SECRET.replace('"', '""'),
        SECRET.upper(),
        SECRET.lower(),
        quote(SECRET, safe="").lower(),
        quote(quote(SECRET, safe=""), safe=""),
        json.dumps(json.dumps(SECRET))[1:-1],
        json.dumps(SECRET).replace("/", "\\/"),
        html.escape(SECRET),
        repr(SECRET.encode())[1:],
        SECRET.encode().hex(),
        SECRET.encode().hex().upper(),
        SECRET.encode("utf-16-le").hex(),
        SECRET.encode().decode("latin-1"),
        SECRET.encode().decode("cp1252"),
        SECRET.encode("utf-16-le").decode("latin-1"),
    ],
)
def test_a_secret_is_found_however_it_is_written(written: str) -> None:
    remember_secret(SECRET)
    shown = mask(f"before {written} after")
    assert MASK in shown
    assert "w]rd" not in shown
    assert shown.startswith("before ")
    assert shown.endswith(" after")


def test_a_secret_is_found_in_any_case_of_any_letter() -> None:
    """Of those that have several characters in another case, or share it with other letters."""
    letters = filter(str.isalpha, map(chr, range(0x1F000)))
    secret = "".join(each for each in letters if len({*_cases(each), each.swapcase()}) > 2)
    remember_secret(secret)
    for written in _cases(secret):
        assert mask(f"[{written}]") == f"[{MASK}]", written


def _cases(text: str) -> list[str]:
    return ["".join(map(change, text)) for change in (str.upper, str.lower, str.title, str.casefold, str)]


# How programs write a text within another one.
WRITERS: list[Callable[[str], str]] = [
    quote,
    lambda text: quote(text, safe=""),
    lambda text: quote(text, safe="!'()*~"),
    lambda text: re.sub("%..", lambda escape: escape[0].lower(), quote(text, safe="")),
    json.dumps,
    lambda text: json.dumps(text, ensure_ascii=False),
    lambda text: json.dumps(text).replace("/", "\\/"),
    repr,
    ascii,
    lambda text: repr(text.encode()),
    html.escape,
    lambda text: html.escape(text, quote=False),
    escape,
    lambda text: text.replace("}", "}}"),
    lambda text: text.replace("]", "]]"),
    lambda text: text.replace("'", "''"),
    lambda text: text.replace('"', '""'),
]


@pytest.mark.parametrize("outer", WRITERS)
def test_a_secret_is_found_in_any_two_escapes(outer: Callable[[str], str]) -> None:
    secret = f"{SECRET}/<🙂>&;"
    remember_secret(secret)
    for inner in WRITERS:
        shown = mask(f"before {outer(f'PWD={{{inner(secret)}}};')} after")
        assert MASK in shown
        assert "ss" not in shown
        assert "rd" not in shown
        assert shown.startswith("before ")
        assert shown.endswith(" after")


MARKS = ["'", '"', "`", "}", "]"]


def test_a_secret_with_doubled_marks_is_found_where_another_one_is_doubled() -> None:
    for mark in MARKS:
        for other in MARKS:
            secret = f"a{mark}b{other}{other}c-{mark}-secret"
            remember_secret(secret)
            written = f"before {mark}{secret.replace(mark, mark * 2)}{mark}"
            assert mask(written) == f"before {mark}{MASK}{mark}"
            assert mask(quote(written, safe=" ")) == f"before {quote(mark)}{MASK}{quote(mark)}"


@pytest.mark.parametrize("secret", ["Pässw\nö\x41r\u0041d'ł", 'ab\\"c\\u0041-secret'])
def test_a_secret_with_backslashes_is_found_where_they_are_left_alone(secret: str) -> None:
    remember_secret(secret)
    for written in (secret.encode("ascii", "backslashreplace").decode(), secret.replace('"', '\\"')):
        assert mask(written) == MASK


CP1252 = "Passwört-gehéim"


@pytest.mark.parametrize(
    "written",
    [
        *(CP1252.encode().decode(charset, "replace") for charset in ("ascii", "cp437", "cp850", "cp1252", "mac-roman")),
        *(CP1252.encode("cp1252").decode("utf-8", errors) for errors in ("replace", "surrogateescape", "ignore")),
        *(CP1252.encode("cp1252").decode("utf-8", "backslashreplace"), CP1252.encode("cp850").decode("cp1252")),
        *(CP1252.encode("ascii", "replace").decode(), CP1252.encode().decode("ascii", "surrogateescape").upper()),
        *(CP1252.encode().decode("latin-1").encode().decode("latin-1"), quote(CP1252.encode("cp1252"))),
        *(CP1252.encode("utf-16-le").decode("utf-8", errors) for errors in ("replace", "ignore")),
        *(CP1252.encode(charset).hex() for charset in ("cp1252", "utf-16-be")),
        *(base64.b64encode(b"abc" + CP1252.encode(charset)).decode() for charset in ("cp1252", "utf-16-be")),
    ],
)
def test_a_secret_is_found_where_its_bytes_were_read_in_a_wrong_encoding(written: str) -> None:
    remember_secret(CP1252)
    assert re.fullmatch(r"(YWJj)?\*\*\*.{0,2}", mask(written), re.DOTALL)


@pytest.mark.parametrize(
    "written", [json.dumps(SECRET), json.dumps(SECRET, ensure_ascii=False), quote_plus(SECRET), quote(SECRET, safe="")]
)
def test_a_secret_is_found_where_it_was_escaped_before_it_was_encoded(written: str) -> None:
    remember_secret(SECRET)
    assert mask(written.strip('"').encode().hex()) == MASK
    assert re.fullmatch(rf"\w{{0,20}}{re.escape(MASK)}\w{{0,20}}=*", mask(base64.b64encode(written.encode()).decode()))


# What begins like an escape, or like a part of one, and need not be any.
FRAGMENTS = ["%", "%c0%80", "%ed%a0%80", "%f7%bf%bf%bf", "%e2%82", "\\", "\\x", "\\xc3", "\\xff", "\\u", "\\ud83d"]
FRAGMENTS += ["\\ude42", "\\U0000d800", "\\U000fffff", "&", "&#", "&#1114112;", "&#xD800;", "&#0;", "&amp;", "&nosuch;"]
FRAGMENTS += ["'", '"', "}", "]", "a"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=3), max_size=12), st.integers(0, 12))
def test_text_without_a_secret_stays_as_it_is_and_around_one_too(parts: list[str], at: int) -> None:
    """Whatever it looks like, as a server may send anything."""
    remember_secret("none of these")
    assert mask("".join(parts)) == "".join(parts)
    before, after = "".join(parts[:at]), "".join(parts[at:])
    shown = mask(f"{before} none of these {after}")
    assert shown == f"{before} {MASK} {after}"


@pytest.mark.parametrize(
    ("secret", "written", "shown"),
    [
        # Of less than four characters it is no secret; of less than eight it is one where it stands alone.
        ("abc", "abc", "abc"),
        ("abcd", "(abcd) xabcd abcdx", f"({MASK}) xabcd abcdx"),
        ("abcdefg", b"abcdefg".hex(), b"abcdefg".hex()),
        ("abcdefgh", f"xabcdefghx {b'abcdefgh'.hex()}", f"x{MASK}x {MASK}"),
        # Case is ignored from eight characters on, in a word or at its end.
        ("abcdefg", "ABCDEFG", "ABCDEFG"),
        ("Abcdefg\u03a3", "abcdefg\u03a3x", f"{MASK}x"),
        ("Abcdefg\u03a3h", "abcdefg\u03c2H", MASK),
        # What less than four characters are left of without a URL's escapes is an ordinary word.
        ("%41%42%43", "ABC %41%42%43", f"ABC {MASK}"),
        ("%20%20%20x", "a   x", "a   x"),
        # A line of a secret is one; a secret that was broken into lines is not found.
        ("abcdefgh\nijklmnop", "ijklmnop", MASK),
        ("abcdefgh", "abcd\nefgh", "abcd\nefgh"),
        # Whichever characters are escaped, also within another kind of escape; not in three, nor Base64 of Base64.
        ("abcdefgh", "%61%62%63%64%65%66%67%68", MASK),
        ("abcdefgh", r"\u0061\u0062cdefgh", MASK),
        ("abcdefgh", r"\u0025\u0036\u0031bcdefgh", MASK),
        ("abcdefgh", "%5Cu0025\\u0036\\u0031bcdefgh", "%5Cu0025\\u0036\\u0031bcdefgh"),
        ("abcdefgh", "WVdKalpHVm1aMmc9", "WVdKalpHVm1aMmc9"),
        # Read in a wrong encoding, a secret is found from eight ASCII characters on, and its ends too.
        ("Grüße-abc", "Gr\ufffd\ufffde-abc", "Gr\ufffd\ufffde-abc"),
        ("Grüße-abcd?", "nä Gr??\ufffde-abcd? nä", f"nä {MASK} nä"),
        ("ä?ö?-abcdefg", "(???\ufffd\ufffd?-abcdefg)", f"({MASK})"),
        ("é?" * 30 + "abcdefgh", "?" * 400 + "x abcdefgh", "?" * 400 + f"x {MASK}"),
        ("ößabcdefghä", "(\ufffd\ufffdabcdefgh\ufffd)", f"({MASK})"),
        # Of what was escaped before it was encoded, what JSON and URLs make of it.
        ("a<b>cdefgh", base64.b64encode(b"a&lt;b&gt;cdefgh").decode(), "YSZsdDtiJmd0O2NkZWZnaA=="),
        # A file's worth of text is none.
        ("a" * 16_385, "a" * 16_385, "a" * 16_385),
    ],
)
def test_what_is_found_of_a_secret_ends_where_the_documents_say(secret: str, written: str, shown: str) -> None:
    remember_secret(secret)
    assert mask(written) == shown


@pytest.mark.parametrize("before", ["", "u", "me", "reader:", "Server=db;PWD="])
@pytest.mark.parametrize("after", ["", ";", "; and more"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("charset", ["utf-8", "utf-16-le"])
def test_a_secret_is_found_within_base64(
    before: str, after: str, encode: Callable[[bytes], bytes], charset: str
) -> None:
    remember_secret(SECRET)
    shown = mask(encode(f"{before}{SECRET}{after}".encode(charset)).decode())
    assert MASK in shown
    # What is left is at most the ends, which other bytes share.
    assert len(shown.replace(MASK, "")) * 6 / 8 <= len(f"{before}{after}".encode(charset)) + 4


@pytest.mark.parametrize(
    ("credential", "name"),
    [
        ("managed_identity", "ManagedIdentityCredential"),
        ("default", "DefaultAzureCredential"),
        ("client_secret", "ClientSecretCredential"),
    ],
)
def test_a_token_is_a_secret_from_the_moment_it_comes(
    credential: LakeCredential, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it is the SDK that asks for it."""
    token = f"a-token-for-{credential}-0123456789"
    given = SimpleNamespace(get_token=lambda *_, **__: AccessToken(token, 4_102_444_800))
    monkeypatch.setattr(f"azure.identity.{name}", lambda *_, **__: given)
    identity: dict[str, Any] = {"tenant_id": "t", "client_id": "c", "client_secret": SecretStr("of the client")}
    settings = LakeSettings(
        account_url="https://shop.dfs.core.windows.net", filesystem="data", credential=credential, **identity
    )
    policy: BearerTokenCredentialPolicy[Any, Any] = BearerTokenCredentialPolicy(
        credential_of(settings), "https://s/.default"
    )
    request = PipelineRequest(HttpRequest("GET", settings.account_url), PipelineContext(None))
    policy.on_request(request)
    assert request.http_request.headers["Authorization"] == f"Bearer {token}"
    assert mask(f"the service says {token}") == f"the service says {MASK}"


def test_the_signature_of_a_token_is_a_secret_of_its_own() -> None:
    remember_secret("?sv=2024&sp=r&sig=aB%2Fcd%3D")
    assert mask("sig=aB/cd= and sig=aB%2Fcd%3D") == f"sig={MASK} and sig={MASK}"


def test_a_short_secret_is_masked_where_it_stands_alone() -> None:
    remember_secret("test1")
    remember_secret("a")
    assert mask("a test1, 'test1' and latest1x") == f"a {MASK}, '{MASK}' and latest1x"


def test_places_are_told_by_the_name_of_their_key() -> None:
    remember_place("account_url", "http://10.0.0.4:10000/")
    remember_place("server", "sql.example.com,1433")
    remember_name("database", "orders")
    remember_place("filesystem", "11111111-1111-1111-1111-111111111111")
    text = (
        "cannot reach http://10.0.0.4:10000/11111111-1111-1111-1111-111111111111: database 'orders' on sql.example.com"
    )
    assert mask_places(text) == "cannot reach <account_url>/<filesystem>: database 'orders' on <server>"
    assert mask_names(text) == "cannot reach <account_url>/<filesystem>: database '<database>' on <server>"
    assert mask_names("shop.orders has orders") == "shop.orders has orders"
    assert mask(text) == text


def test_the_registry_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hygge_engine.masking.LIMIT", 20)
    for number in range(30):
        remember_secret(f"secret-number-{number:06}")
    assert mask("secret-number-000009") == "secret-number-000009"
    assert mask("secret-number-000010") == mask("secret-number-000029") == MASK


def test_an_error_that_quotes_a_secret_does_not_show_it() -> None:
    remember_secret("hunter22!")
    error = HyggeError("the server says: hunter22!", hint="Try hunter22! again.")
    assert "hunter22!" not in f"{error}{error!r}{error.args}{error.message}{error.hint}"
    assert "hunter22!" not in str(InvalidRequest(["unknown hunter22!"]).problems)


def test_an_answer_shows_no_secret_and_its_messages_no_address() -> None:
    remember_secret("hunter22!")
    remember_place("account_url", "http://10.0.0.4:10000")
    url = "http://10.0.0.4:10000/api/loads/1"
    payload = {"status_url": url, "entity_runs": [{"entity": "hunter22!", "message": f"cannot reach {url}"}]}
    assert Response(200, payload).payload == {
        "status_url": url,
        "entity_runs": [{"entity": MASK, "message": "cannot reach <account_url>/api/loads/1"}],
    }


# Terminals' commands, line breaks of every kind, marks of direction, characters without width, what is no character.
HOSTILE = (
    *("\x1b[2K\x1b[1A", "\x9b2J", "\x07", "\x08\x08", "\x7f", "\r", "\n", "\v", "\f", "\x85", "\u2028", "\u2029"),
    *("\u202e", "\u2066", "\u200f", "\u061c", "\u200b", "\ufeff", "\u00ad", "\U000e0041", "\ud800", "\x00"),
)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_text_is_written_out(hostile: str) -> None:
    shown = one_line(f"a{hostile}b")
    assert not any(is_commanding(character) for character in shown)
    assert shown.startswith("a\\")
    assert shown.endswith("b")
    shown = lines_of(f"a{hostile}b")
    assert not any(is_commanding(character) for character in shown.replace("\n", ""))


def test_ordinary_text_of_any_language_stays_as_it_is() -> None:
    text = "Zürich 東京 Ελλάδα العربية 🙂 a\u0301"
    assert one_line(text) == lines_of(text) == text


@pytest.fixture
def record_factory() -> None:
    add_ids_to_logs()


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.usefixtures("record_factory")
def test_a_log_line_is_one_line_and_shows_no_secret(caplog: pytest.LogCaptureFixture, hostile: str) -> None:
    remember_secret("hunter22!")
    log = logging.getLogger("hygge_engine.test")
    try:
        raise ValueError(f"x{hostile}2026-01-01 ERROR root: forged hunter22!")
    except ValueError:
        log.exception("The server says %s", f"{hostile}ERROR root: forged hunter22!")
    [record] = caplog.records
    first, *trace = logging.Formatter("%(levelname)s %(message)s").format(record).split("\n")
    assert "ERROR The server says \\" in first
    assert trace
    assert all(line.startswith("  ") for line in trace)
    shown = "\n".join([first, *trace])
    assert "hunter22!" not in shown
    assert not any(is_commanding(character) for character in shown.replace("\n", ""))
    entry = json.loads(JsonFormatter().format(record))
    assert (entry["event"], entry["level"]) == ("log", "ERROR")
    assert "hunter22!" not in entry["message"] + entry["trace"]


def test_a_secret_that_is_no_unicode_is_masked_like_another() -> None:
    remember_secret("geheim\udcffkey12")
    assert mask("pw=geheim\udcffkey12 x") == "pw=*** x"
    assert mask("nothing of it") == "nothing of it"
