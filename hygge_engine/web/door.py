"""What may come in: a request's body and parameters, before anything of the project is asked."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from hygge_engine.errors import InvalidRequest
from hygge_engine.hosts import is_loopback
from hygge_engine.web.responses import Response, problem

# A request names some of the flows and entities; who wants all of them names none.
BODY_LIMIT_BYTES = 64 * 1024

# Our ids are UUIDs, a timer's name its tick, and an operator's may be any word. The SDK puts an id into a URL as it
# is, where anything else would be a path, a query or a fragment.
LOAD_ID = r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,199}"
_LOAD_ID = re.compile(LOAD_ID)

# Longest idempotency key that is taken: who sends one makes it up.
KEY_LIMIT_CHARACTERS = 200
_KEY = re.compile(f"[!-~]{{1,{KEY_LIMIT_CHARACTERS}}}")

# Where the app is reached, if not under the platform's name for it: behind a gateway or a custom domain.
PUBLIC_URL = "HYGGE_PUBLIC_URL"
_PLATFORM_HOST = "WEBSITE_HOSTNAME"

# Set by App Service where its own authentication stands before the app.
_AUTHENTICATES = "WEBSITE_AUTH_ENABLED"

# Longer than any value of a watermark column; Python reads no number of thousands.
_MOST_DIGITS = 100

_JSON_TYPE = re.compile(r"application/(?:[\w.-]+\+)?json", re.IGNORECASE)


class Refused(Exception):
    """A request that is refused before it is understood."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.payload["detail"])
        self.response = response


def decode_body(body: bytes, content_type: str) -> Any:
    """The JSON of a body, None where there is none.

    Raises Refused where the body is too long (413) or says that it is not JSON (415), InvalidRequest where it is not
    what it says, has a key twice, or text that is not valid Unicode.
    """
    if len(body) > BODY_LIMIT_BYTES:
        detail = f"The body has {len(body):,} bytes; at most {BODY_LIMIT_BYTES:,} are read."
        raise Refused(problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail, code=InvalidRequest.code))
    if not body:
        return None
    if content_type and not _is_json_type(content_type):
        detail = "The body has to be JSON in UTF-8, with the header `Content-Type: application/json`."
        raise Refused(problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail, code=InvalidRequest.code))
    if not body.strip():
        raise InvalidRequest(["The body is blank. Send no body at all, or {}, to load everything."])
    try:
        value = json.loads(body.decode(), object_pairs_hook=_object, parse_int=_whole, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise InvalidRequest(["The body is not UTF-8."]) from error
    except RecursionError as error:
        raise InvalidRequest(["The body is nested too deeply."]) from error
    except json.JSONDecodeError as error:
        raise InvalidRequest([f"The body is not JSON: {error}."]) from error
    except ValueError as error:  # ours
        raise InvalidRequest([f"The body cannot be used: {error}."]) from error
    if value is None:
        raise InvalidRequest(
            ["The body must be a JSON object, found null. Send no body at all, or {}, for everything."]
        )
    if not _is_unicode(value):
        raise InvalidRequest(["The body has text that is not valid Unicode: half of a surrogate pair."])
    return value


def is_load_id(text: str) -> bool:
    """Whether a load could have this id; what no load can have is looked for nowhere."""
    return _LOAD_ID.fullmatch(text) is not None


def whole_number(text: str, limit: int) -> int | None:
    """A number from 1 to ``limit`` in decimal digits; None for anything else."""
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(limit))):
        return None
    return number if 1 <= (number := int(text)) <= limit else None


def is_text(text: str) -> bool:
    """Whether a parameter is Unicode that can be written down: no half of a surrogate pair, no control character."""
    return _is_unicode(text) and text.isprintable()


def key_in(header: str | None) -> str:
    """The idempotency key of a request, empty where it has none. Raises Refused where it cannot be one: who sends an
    empty one means to be safe."""
    if header is None:
        return ""
    if not _KEY.fullmatch(header):
        detail = f"'Idempotency-Key' must be at most {KEY_LIMIT_CHARACTERS} visible characters of ASCII: a UUID, say."
        raise Refused(problem(HTTPStatus.BAD_REQUEST, detail, code=InvalidRequest.code))
    return header


def authenticated(headers: Mapping[str, str]) -> str:
    """Whom the platform has authenticated, empty where it authenticates no one: every caller may send this header, and
    only a platform in front of the app removes it.

    A person's name for signing in; of an application, whose token has none, the id of its object in the directory.
    """
    if os.environ.get(_AUTHENTICATES, "").casefold() not in ("true", "1"):
        return ""
    return headers.get("x-ms-client-principal-name", "") or headers.get("x-ms-client-principal-id", "")


def base_url() -> str:
    """Where callers reach the app, without a slash at the end; empty where it is not set.

    Never taken from a request, whose Host header is the caller's own.
    """
    public = os.environ.get(PUBLIC_URL, "").rstrip("/")
    if public:
        return public
    host = os.environ.get(_PLATFORM_HOST, "")
    scheme = "http" if is_loopback(host.rpartition(":")[0] or host) else "https"
    return f"{scheme}://{host}" if host else ""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("an object has a key twice")
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON value")


def _is_unicode(value: Any) -> bool:
    """Whether all texts of a JSON value can be written down, however deep it is nested."""
    pending = [value]
    while pending:
        match pending.pop():
            case str() as text:
                try:
                    text.encode()
                except UnicodeEncodeError:
                    return False
            case dict() as mapping:
                pending += [*mapping.keys(), *mapping.values()]
            case list() as items:
                pending += items
    return True


def _whole(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a number has more than {_MOST_DIGITS} digits")
    return int(digits)


def _is_json_type(content_type: str) -> bool:
    """Whether a header promises JSON in the one encoding that JSON has."""
    kind, *parameters = (part.strip() for part in content_type.split(";"))
    charsets = [
        value for name, _, value in (part.partition("=") for part in parameters) if name.casefold() == "charset"
    ]
    known = all(value.strip("\"'").casefold() in ("utf-8", "utf8") for value in charsets)
    return known and _JSON_TYPE.fullmatch(kind) is not None
