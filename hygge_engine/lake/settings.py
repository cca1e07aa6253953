"""How a project's files name a data lake: shared by every store and home that lives in one."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, SecretStr, field_validator, model_validator

from hygge_engine.hosts import identity_of, is_guid, is_loopback, split_address
from hygge_engine.project.models.settings import Settings

LakeCredential = Literal["managed_identity", "default", "client_secret", "account_key", "sas"]

# What each kind of credential cannot do without. Managed identity takes client_id only for a user-assigned one.
_REQUIRED: dict[str, tuple[str, ...]] = {
    "managed_identity": (),
    "default": (),
    "client_secret": ("tenant_id", "client_id", "client_secret"),
    "account_key": ("account_key",),
    "sas": ("sas_token",),
}


# Which credential a secret belongs to.
_SECRET_OF = {"account_key": "account_key", "sas_token": "sas", "client_secret": "client_secret"}

# So many characters, nearly all of them a GUID's, with hyphens between: no name that somebody has chosen.
_NEARLY_A_GUID = re.compile(r"[{(]?(?=.*-)[0-9a-zA-Z-]{20,}[)}]?")
_BEYOND_F = re.compile(r"[g-zG-Z]")
_MOST_BEYOND_F = 3

# Hosts whose addresses have no path of their own; emulators may have one.
_SERVICES = (".fabric.microsoft.com", ".core.windows.net", ".chinacloudapi.cn", ".usgovcloudapi.net")


# A SAS token is a query: printable ASCII without blanks.
_SAS_CHARACTERS = re.compile(r"[!-~]+")

# What would end a part of a path, or of the URL that it becomes part of.
_ENDS_A_PART = re.compile(r"[/\\?#\x00-\x1f\x7f]")


def check_path_part(value: str) -> str:
    """Return ``value`` if it can only ever be one part of a path; raise ValueError otherwise."""
    if _ENDS_A_PART.search(value) or not value.strip(". "):
        raise ValueError("expected one part of a path: no slashes, no '?', '#' or control characters, not '.' or '..'")
    return value


def check_identifier(value: str) -> str:
    """Return ``value`` if it can name a workspace or an item of Fabric; raise ValueError otherwise.

    Emulators take any name. What is nearly a GUID is a GUID with a mistake in it.
    """
    check_path_part(value)
    nearly = _NEARLY_A_GUID.fullmatch(value) and len(_BEYOND_F.findall(value)) <= _MOST_BEYOND_F
    if nearly and not is_guid(value):
        raise ValueError("expected a GUID of 8, 4, 4, 4 and 12 digits: 11111111-2222-3333-4444-555555555555")
    return value


def is_fabric(account_url: str) -> bool:
    """Whether an address is one of OneLake's own, not an emulator's or a storage account's."""
    return (urlsplit(account_url).hostname or "").endswith(".fabric.microsoft.com")


def check_account_url(value: str) -> str:
    """Return ``value`` if it can be the address of a DFS endpoint; raise ValueError otherwise."""
    if not value.startswith(("https://", "http://")):
        raise ValueError("account_url must begin with https:// (or http:// for an emulator on this machine)")
    url = split_address(value)
    if url is None:
        raise ValueError("account_url has no host and port that can be reached: https://<account>.dfs.core.windows.net")
    host = url.hostname or ""
    if url.scheme == "http" and not is_loopback(host):
        raise ValueError("account_url must begin with https://: without TLS a lake is reached on this machine only")
    if host.startswith("app."):
        raise ValueError("account_url is the portal's address; OneLake's is https://onelake.dfs.fabric.microsoft.com")
    if url.query or url.fragment or url.username is not None:
        raise ValueError(
            "account_url is only an address, https://<account>.dfs.core.windows.net: a SAS token belongs in sas_token, "
            "an account key in account_key"
        )
    if host.endswith(_SERVICES) and url.path.strip("/"):
        raise ValueError(
            f"account_url is only an address, {url.scheme}://{url.netloc}: workspace or container go in filesystem, "
            "what lies below them in keys of its own"
        )
    if ".blob." in host:
        raise ValueError(f"account_url is the Blob endpoint; the DFS endpoint is {host.replace('.blob.', '.dfs.')}")
    return value


def check_account_key(value: SecretStr) -> SecretStr:
    """Return ``value`` if it can be an account's key; raise ValueError otherwise, without showing it."""
    try:
        usable = bool(base64.b64decode(value.get_secret_value(), validate=True))
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("expected the key of a storage account, which is Base64: copy it whole")
    return value


def check_sas_token(value: SecretStr) -> SecretStr:
    """Return ``value`` if it can be a SAS token; raise ValueError otherwise, without showing it."""
    token = value.get_secret_value()
    fields = parse_qs(token.strip().removeprefix("?"))
    if not _SAS_CHARACTERS.fullmatch(token) or not (fields.get("sv") and fields.get("sig")):
        raise ValueError("expected a SAS token, `sv=…&sig=…` without blanks and line breaks: copy it whole")
    return value


AccountUrl = Annotated[str, AfterValidator(check_account_url)]
PathPart = Annotated[str, AfterValidator(check_path_part)]
FabricIdentifier = Annotated[str, AfterValidator(check_identifier)]


class LakeSettings(Settings):
    """Endpoint and credential of an ADLS Gen2 account or of OneLake.

    ``account_url`` is the DFS endpoint; a name with ``.dfs.`` in it is expected to have a ``.blob.`` twin, any other
    host serves both. Plain ``http`` is accepted with an account key or a SAS token only: the SDK refuses to send a
    bearer token without TLS.
    """

    place_keys: ClassVar[tuple[str, ...]] = (
        *("account_url", "filesystem", "mirror_name", "lakehouse", "fabric_api_url"),
        *("account_name", "tenant_id", "client_id"),
    )

    account_url: AccountUrl
    filesystem: FabricIdentifier
    path: str = ""
    credential: LakeCredential = "managed_identity"
    account_name: str | None = None
    account_key: SecretStr | None = None
    sas_token: SecretStr | None = None
    tenant_id: str | None = None
    client_id: str | None = None
    client_secret: SecretStr | None = None

    def addresses(self) -> Mapping[str, str]:
        return {"account_url": self.account_url}

    @field_validator("account_key")
    @classmethod
    def _key_is_whole(cls, value: SecretStr | None) -> SecretStr | None:
        return value and check_account_key(value)

    @field_validator("sas_token")
    @classmethod
    def _token_is_whole(cls, value: SecretStr | None) -> SecretStr | None:
        return value and check_sas_token(value)

    @model_validator(mode="after")
    def _identifiers_are_alike(self) -> Self:
        keys = [key for key in ("mirror_name", "lakehouse") if key in type(self).model_fields]
        named = [key for key in (*keys, "filesystem") if not is_guid(getattr(self, key))]
        if keys and len(named) == 1 and is_fabric(self.account_url):
            raise ValueError(f"{named[0]} is a name, and OneLake takes GUIDs for workspace and item, or names for both")
        return self

    @model_validator(mode="after")
    def _credential_is_complete(self) -> Self:
        if "credential" not in self.model_fields_set:
            given = [kind for key, kind in _SECRET_OF.items() if getattr(self, key)]
            if given:
                raise ValueError(f"credential is {self.credential} by default; write credential: {given[0]}")
        missing = [name for name in _REQUIRED[self.credential] if not getattr(self, name)]
        if missing:
            raise ValueError(f"credential '{self.credential}' needs {', '.join(missing)}")
        if self.account_url.startswith("http://") and self.credential not in ("account_key", "sas"):
            raise ValueError(f"credential '{self.credential}' sends a token, which needs an https:// account_url")
        return self


def lake_root(settings: LakeSettings) -> str:
    """What paths of a lake begin at: the same for all who name the same filesystem."""
    return identity_of(f"{settings.account_url.rstrip('/')}/{settings.filesystem}")
