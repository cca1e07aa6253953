"""Names of SQL Server objects: taken apart as T-SQL would, and quoted so that they are never anything but names."""

from __future__ import annotations

DEFAULT_SCHEMA = "dbo"


def quote(name: str) -> str:
    """``name`` as a delimited identifier: in brackets, with ``]`` doubled."""
    return "[" + name.replace("]", "]]") + "]"


def qualify(schema: str, name: str) -> str:
    """A two-part name, quoted."""
    return f"{quote(schema)}.{quote(name)}"


def parse_table_name(text: str) -> tuple[str, str]:
    """``schema.table`` as (schema, table); each part may stand in brackets or double quotes, which double inside.

    A name of one part belongs to ``dbo``. Raises ValueError with the reason where the text is not such a name.
    """
    parts = split_name(text.strip())
    if len(parts) > 2:
        raise ValueError(f"{text!r} has {len(parts)} parts; expected schema.table of the connection's own database")
    if any(not part for part in parts):
        raise ValueError(f"{text!r} has an empty part; expected schema.table")
    return (DEFAULT_SCHEMA, parts[0]) if len(parts) == 1 else (parts[0], parts[1])


def split_name(text: str) -> list[str]:
    """The parts of a name of one to four parts. Raises ValueError where a quoted part does not end."""
    parts: list[str] = []
    position = 0
    while True:
        opening = text[position : position + 1]
        if opening in ("[", '"'):
            part, position = _delimited(text, position + 1, "]" if opening == "[" else '"')
        else:
            end = text.find(".", position)
            end = len(text) if end < 0 else end
            part, position = text[position:end].strip(), end
        parts.append(part)
        if position == len(text):
            return parts
        if text[position] != ".":
            raise ValueError(f"{text!r} has {text[position]!r} after a quoted name; expected a dot or the end")
        position += 1


def _delimited(text: str, start: int, closing: str) -> tuple[str, int]:
    """The name from ``start`` to its closing delimiter, and the position after that."""
    position = start
    while True:
        end = text.find(closing, position)
        if end < 0:
            raise ValueError(f"{text!r} opens a quoted name that nothing closes; expected {closing}")
        if text[end + 1 : end + 2] != closing:
            return text[start:end].replace(closing * 2, closing), end + 1
        position = end + 2
