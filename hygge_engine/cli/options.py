"""What is said of an option's value that cannot be used: our words instead of those of the library that reads it."""

from __future__ import annotations

import re
from typing import Any

import typer
from typer.core import TyperGroup

# From the library's words to what the option takes.
_WORDS = (
    (r"Value error, ", ""),
    (r"Input should be a valid integer.*", "it takes a whole number"),
    (r"Input should be a valid number.*", "it takes a number"),
    (r"Input should be greater than or equal to (\S+)", r"it takes \1 at least"),
    (r"Input should be less than or equal to (\S+)", r"it takes \1 at most"),
    (r"Input should be ", "it takes "),
)
_CHOICES = re.compile(r"'(?P<given>.*)' is not one of (?P<known>'.+')\.", re.DOTALL)


class Commands(TyperGroup):
    """The commands of an app whose options speak as the other errors do."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = in_our_words(error.message)
            raise


def in_our_words(message: str) -> str:
    """Typer's message in this CLI's wording, with the nearest valid choice."""
    for pattern, words in _WORDS:
        message = re.sub(f"^{pattern}", words, message)
    found = _CHOICES.fullmatch(message)
    if not found:
        return message
    from hygge_engine.project.telling.problems import nearest

    if choice := nearest(found["given"], re.findall(r"'([^']+)'", found["known"])):
        message += f" Did you mean '{choice}'?"
    return message
