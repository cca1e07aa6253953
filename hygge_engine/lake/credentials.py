"""The SDK credential that a lake's settings describe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr

from hygge_engine.errors import LakeDenied
from hygge_engine.lake.settings import LakeSettings
from hygge_engine.masking import remember_secret

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken, TokenCredential

# The scope of a token for ADLS Gen2 and OneLake.
STORAGE_SCOPE = "https://storage.azure.com/.default"

# By default object_store tries ten times over three minutes without any report. What is worth more retries is tried
# again by `hygge_engine.retry`.
_OBJECT_STORE_PATIENCE = {"connect_timeout": "5s", "timeout": "30s", "retry_timeout": "30s", "max_retries": "5"}


class _Remembered:
    """A credential whose tokens are secrets of this process as soon as they arrive, whatever requested them."""

    def __init__(self, credential: TokenCredential) -> None:
        self._credential = credential

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """A token for ``scopes``; raises what azure-identity raises."""
        token = self._credential.get_token(*scopes, **options)
        remember_secret(token.token)
        return token


def credential_of(settings: LakeSettings) -> Any:
    """What the SDK's clients take as ``credential``.

    azure-identity is imported only where a token is wanted: it is slow to import.
    """
    match settings.credential:
        case "account_key":
            # A bare key string fails where no account name can be derived from the host (127.0.0.1).
            name = settings.account_name or (urlsplit(settings.account_url).hostname or "").split(".", 1)[0]
            return {"account_name": name, "account_key": _secret(settings.account_key)}
        case "sas":
            return _sas(settings)
        case "client_secret":
            from azure.identity import ClientSecretCredential

            return _Remembered(
                ClientSecretCredential(
                    settings.tenant_id or "", settings.client_id or "", _secret(settings.client_secret)
                )
            )
        case "managed_identity":
            from azure.identity import ManagedIdentityCredential

            return _Remembered(ManagedIdentityCredential(client_id=settings.client_id))
        case "default":
            from azure.identity import DefaultAzureCredential

            return _Remembered(DefaultAzureCredential(managed_identity_client_id=settings.client_id))


def object_store_options(settings: LakeSettings) -> dict[str, str]:
    """The same endpoint and credential as the options of the object_store library, which Delta writers are built on.

    A token is requested here and lasts about an hour: enough for a commit, so call again for the next.
    """
    url = urlsplit(settings.account_url)
    account = settings.account_name or (url.hostname or "").split(".", 1)[0]
    options = {"azure_storage_account_name": account, **_OBJECT_STORE_PATIENCE}
    if ".dfs." in (url.hostname or ""):
        options["azure_storage_endpoint"] = settings.account_url.replace(".dfs.", ".blob.", 1).rstrip("/")
    else:
        options["azure_storage_endpoint"] = settings.account_url.rstrip("/")
    if url.scheme == "http":
        options["azure_allow_http"] = "true"
    match settings.credential:
        case "account_key":
            options["azure_storage_account_key"] = _secret(settings.account_key)
        case "sas":
            options["azure_storage_sas_token"] = _secret(settings.sas_token)
        case _:
            options["azure_storage_token"] = credential_of(settings).get_token(STORAGE_SCOPE).token
    return options


def _sas(settings: LakeSettings) -> str:
    """The SAS token. Raises LakeDenied for what is none, which the SDK would take for an account key."""
    token = _secret(settings.sas_token).strip().lstrip("?")
    if not {"sig", "sv"} <= parse_qs(token).keys():
        raise LakeDenied(
            f"sas_token is not a SAS token, so {settings.account_url} cannot be called with it",
            hint="It has the form sv=…&sig=…, without an address before it.",
        )
    return token


def _secret(value: SecretStr | None) -> str:
    return "" if value is None else value.get_secret_value()
