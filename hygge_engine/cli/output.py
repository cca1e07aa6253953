"""The one way to the terminal: whatever is shown there shows no secret, and commands nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from hygge_engine.errors import ConfigurationError
from hygge_engine.masking import mask, masked_in
from hygge_engine.plain_text import lines_of, one_line


class PlainConsole(Console):
    """A console whose texts are text: only what rich itself writes moves a cursor or gives a colour."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        # Before it is broken into lines, across which no secret would be found.
        if isinstance(renderable, Text):
            renderable = _masked(renderable)
        elif isinstance(renderable, str):
            renderable = mask(renderable)
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=lines_of(mask(segment.text)))


def _masked(text: Text) -> Text:
    shown = mask(text.plain)
    if shown == text.plain:
        return text
    return Text(shown, text.style, justify=text.justify, overflow=text.overflow, no_wrap=text.no_wrap, end=text.end)


def open_console() -> Console:
    """A console on standard output."""
    return PlainConsole(highlight=False)


def echo(text: str, *, err: bool = False) -> None:
    """Write lines to standard output or error."""
    typer.echo(lines_of(mask(text)), err=err)


def ask(question: str) -> str:
    """The answer that is typed to a question; empty where there is none."""
    with unanswered():
        return str(typer.prompt(one_line(mask(question)), default="", show_default=False))


@contextmanager
def unanswered() -> Iterator[None]:
    """Around questions before anything is written: say so, on a line of its own, where Ctrl-C or the input's end comes
    instead of an answer. Raises KeyboardInterrupt, ConfigurationError."""
    try:
        yield
    except typer.Abort as abort:  # Stands for both.
        if isinstance(abort.__context__, EOFError):
            echo("", err=True)
            raise ConfigurationError(
                "The input ended before the last answer; nothing was written.",
                hint="Give the answers as options; the command's --help explains each.",
            ) from None
        _say_unanswered()
        raise KeyboardInterrupt from None
    except KeyboardInterrupt:
        _say_unanswered()
        raise


def _say_unanswered() -> None:
    echo("Stopped before the last answer; nothing was written.", err=True)


def echo_json(value: Any) -> None:
    """Write a value as one line of JSON, whose own rules escape what a terminal would obey."""
    typer.echo(json.dumps(masked_in(value), default=str))


def hanging(text: str, indent: int = 4) -> str:
    """``text`` with its further lines indented like its first, so that none looks like the command's own."""
    return f"\n{' ' * indent}".join(lines_of(text).split("\n"))
