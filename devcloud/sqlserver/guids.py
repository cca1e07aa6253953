"""The three byte orders of a uniqueidentifier: as text, on the wire, and as SQL Server compares it (our storage)."""

from __future__ import annotations

from typing import Final

STORAGE_FROM_WIRE: Final = (10, 11, 12, 13, 14, 15, 8, 9, 6, 7, 4, 5, 0, 1, 2, 3)
"""Which byte of the wire stands at each place of storage: the order in which System.Data.SqlTypes.SqlGuid compares."""
_WIRE_FROM_TEXT: Final = (3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15)
"""The first three groups of the text are little-endian numbers on the wire."""
WIRE_FROM_STORAGE: Final = tuple(STORAGE_FROM_WIRE.index(place) for place in range(16))
STORAGE_FROM_TEXT: Final = tuple(_WIRE_FROM_TEXT[place] for place in STORAGE_FROM_WIRE)
TEXT_FROM_STORAGE: Final = tuple(STORAGE_FROM_TEXT.index(place) for place in range(16))


def permute_bytes(value: bytes, order: tuple[int, ...]) -> bytes:
    """Return 16 bytes in another order."""
    return bytes(value[place] for place in order)


def permute_hex(digits: str, order: tuple[int, ...]) -> str:
    """Return DuckDB SQL that puts 32 hexadecimal digits in another order."""
    runs: list[tuple[int, int]] = []
    for place in order:
        if runs and runs[-1][0] + runs[-1][1] == place:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((place, 1))
    return "(" + " || ".join(f"substr({digits}, {2 * start + 1}, {2 * count})" for start, count in runs) + ")"
