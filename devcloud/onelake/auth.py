"""Who may send requests: a shared key whose signature is verified, a bearer token, or a shared access signature."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final
from urllib.parse import quote, unquote

from devcloud.doors import matches
from devcloud.onelake.behaviour import Behaviour
from devcloud.onelake.errors import ServiceError
from devcloud.onelake.exchange import Request, parse_query
from devcloud.onelake.tree import Clock

DEFAULT_ACCOUNT_NAME: Final = "devcloud"

# Every account of this emulator has this key by default; it protects nothing.
DEFAULT_ACCOUNT_KEY: Final = b64encode(hashlib.sha512(b"devcloud").digest()).decode()

_SIGNED_HEADERS: Final = (
    "Content-Encoding",
    "Content-Language",
    "Content-Length",
    "Content-MD5",
    "Content-Type",
    "Date",
    "If-Modified-Since",
    "If-Match",
    "If-None-Match",
    "If-Unmodified-Since",
    "Range",
)


class Authenticator:
    """The credentials that a server accepts.

    `bearer_tokens` None accepts every non-empty token; `sas_tokens` are whole query strings, of which a request must
    carry every pair.
    """

    def __init__(
        self,
        account_name: str,
        account_key: str,
        *,
        clock: Clock,
        behaviour: Behaviour,
        bearer_tokens: Collection[str] | None = None,
        sas_tokens: Collection[str] = (),
    ) -> None:
        self._account_name = account_name
        self._key = b64decode(account_key)
        self._clock = clock
        self._behaviour = behaviour
        self._bearer_tokens = bearer_tokens
        self._sas = [parse_query(token.lstrip("?")) for token in sas_tokens]
        self._uses: Counter[str] = Counter()

    def check(self, request: Request) -> None:
        """Raise `NoAuthenticationInformation`, `InvalidAuthenticationInfo` (401) or `AuthenticationFailed` (403)."""
        scheme, _, credential = request.headers.get("Authorization", "").partition(" ")
        match scheme.lower():
            case "sharedkey":
                self._check_shared_key(request, credential)
            case "bearer":
                self._check_bearer(credential.strip())
            case "" if "sig" in request.query:
                self._check_sas(request.query)
            case "":
                raise ServiceError("NoAuthenticationInformation")
            case _:
                raise ServiceError("InvalidAuthenticationInfo")

    def _check_shared_key(self, request: Request, credential: str) -> None:
        account, _, signature = credential.partition(":")
        if account == self._account_name:
            for text in strings_to_sign(request, account):
                expected = b64encode(hmac.digest(self._key, text.encode(), "sha256")).decode()
                if matches(signature, expected):
                    return
        raise ServiceError("AuthenticationFailed", "The signature does not match the account name and key.")

    def _check_bearer(self, token: str) -> None:
        if not token or (self._bearer_tokens is not None and token not in self._bearer_tokens):
            raise ServiceError("InvalidAuthenticationInfo", "The access token is not valid.")
        self._uses[token] += 1
        limit = self._behaviour.requests_per_bearer_token
        if limit is not None and self._uses[token] > limit:
            raise ServiceError("InvalidAuthenticationInfo", "The access token has expired.")

    def _check_sas(self, query: Mapping[str, str]) -> None:
        if not any(token.items() <= query.items() for token in self._sas):
            raise ServiceError("AuthenticationFailed", "The shared access signature is not one of this account's.")
        expiry = query.get("se")
        if expiry is not None and datetime.fromisoformat(expiry).timestamp() * 1e9 <= self._clock.now_ns():
            raise ServiceError("AuthenticationFailed", "The shared access signature has expired.")


def strings_to_sign(request: Request, account: str) -> list[str]:
    """What a Shared Key signature of a request may cover, the likeliest first.

    Clients agree on everything but how the path is percent-encoded: some sign it as they built it, before their HTTP
    library normalised it on the way.
    """
    headers = request.headers
    values = [headers.get(name, "") for name in _SIGNED_HEADERS]
    if values[2] == "0":
        values[2] = ""
    own = sorted(
        # The service sorts by culture, where hyphens come last of all.
        ((name.lower(), value) for name, value in headers.items() if name.lower().startswith("x-ms-")),
        key=lambda pair: pair[0].replace("-", ""),
    )
    canonical_headers = "".join(f"{name}:{value}\n" for name, value in own)
    canonical_query = "".join(f"\n{name}:{value}" for name, value in sorted(request.query.items()))
    start = "\n".join([request.method, *values]) + "\n" + canonical_headers + f"/{account}"
    decoded = unquote(request.raw_path)
    paths = dict.fromkeys((request.raw_path, quote(decoded, safe="/()$=',~"), quote(decoded, safe="/~"), decoded))
    return [start + path + canonical_query for path in paths]
