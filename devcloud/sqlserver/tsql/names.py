"""Names written as text."""

from __future__ import annotations


def split_name(text: str) -> tuple[str, ...]:
    """Return the parts of a name written as text, such as ``[dbo].[flights]``."""
    parts: list[str] = []
    position = 0
    current = ""
    while position < len(text):
        character = text[position]
        if character in '["':
            closing = "]" if character == "[" else '"'
            end = position + 1
            while end < len(text):
                if text[end] == closing:
                    if text[end + 1 : end + 2] != closing:
                        break
                    end += 1
                current += text[end]
                end += 1
            position = end + 1
        elif character == ".":
            parts.append(current)
            current = ""
            position += 1
        else:
            current += character
            position += 1
    return (*(part.strip() for part in parts), current.strip())
