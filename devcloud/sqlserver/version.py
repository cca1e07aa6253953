"""The version that this server gives as its own."""

from __future__ import annotations

from typing import Final

SERVER_VERSION: Final = (16, 0, 4165)
"""Of SQL Server 2022, whose protocol and functions this server follows: major, minor, build."""
