"""LIKE's patterns as regular expressions."""

from __future__ import annotations

import re


def like_to_regex(pattern: str, escape: str | None = None) -> str:
    """Return an RE2 expression that matches, as a whole, what LIKE's pattern matches.

    Trailing spaces of the value are not significant where the pattern has none: LIKE ignores them for char data.
    """
    parts: list[str] = []
    position = 0
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if escape is not None and character == escape and position < len(pattern):
            parts.append(re.escape(pattern[position]))
            position += 1
        elif character == "%":
            parts.append(".*")
        elif character == "_":
            parts.append(".")
        elif character == "[" and "]" in pattern[position + 1 :]:
            end = pattern.index("]", position + 1)
            parts.append(_character_class(pattern[position:end]))
            position = end + 1
        else:
            parts.append(re.escape(character))
    return "".join(parts)


def _character_class(content: str) -> str:
    negated = content.startswith("^")
    content = content[1:] if negated else content
    escaped = "".join(f"\\{character}" if character in "\\]^[" else character for character in content)
    return f"[{'^' if negated else ''}{escaped}]"
