"""The storage SDK's clients, imported without aiohttp where it is not loaded yet.

Only to recognise it, the SDK loads azure-core's asynchronous transport, which imports aiohttp wherever that is
installed: a quarter of a second for each command, for a transport that is never used here.
"""

from __future__ import annotations

import sys

from azure.core.pipeline import transport


class _NoTransport:
    """Stands where the asynchronous transport would: none is an instance of it."""


_STAND_IN = "aiohttp" not in sys.modules
if _STAND_IN:
    transport.AioHttpTransport = _NoTransport
try:
    from azure.storage.blob import BlobClient, BlobServiceClient
    from azure.storage.filedatalake import DataLakeDirectoryClient, DataLakeFileClient, DataLakeServiceClient
finally:
    if _STAND_IN:
        del transport.AioHttpTransport  # which azure-core resolves again for the next caller

__all__ = [
    "BlobClient",
    "BlobServiceClient",
    "DataLakeDirectoryClient",
    "DataLakeFileClient",
    "DataLakeServiceClient",
]
