"""Every error has a page that says what it means, why it happens and what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hygge_engine import errors
from hygge_engine.cli.messages import describe_code, error_lines, page_of, remedy_of
from tests.support.error_codes import REPOSITORY, classes, codes

PAGES = REPOSITORY / "docs/errors"


def test_every_code_has_a_page_and_every_page_a_code() -> None:
    assert {path.stem for path in PAGES.glob("*.md")} - {"index"} == codes()


# A line of the tree that hygge_engine.errors draws: its branches, a class, and what it means.
_DRAWN = re.compile(r"^    (?P<branches>[│├└─ ]*)(?P<name>[A-Z]\w+)(?: +(?P<meaning>\S.*))?$")


def test_the_tree_that_is_drawn_is_the_tree_of_classes() -> None:
    codes()
    drawn: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = _DRAWN.match(line)
        if match is None:
            continue
        depth = len(match["branches"]) // 4
        path[depth:] = [match["name"]]
        drawn[match["name"]] = path[depth - 1] if depth else ""
        error = getattr(errors, match["name"])
        assert bool(match["meaning"]) is (depth > 0)
        assert (match["meaning"] or "").startswith("transient:") is error.transient
    parents = {error.__name__: error.__mro__[1].__name__ for error in classes()}
    assert drawn == parents | {"HyggeError": ""}


def test_no_two_errors_share_a_code() -> None:
    found = [error.code for error in classes()]
    assert len(found) == len(set(found))


@pytest.mark.parametrize(
    "page", sorted(path for path in PAGES.glob("*.md") if path.stem != "index"), ids=lambda p: p.stem
)
def test_a_page_says_what_why_and_what_to_do(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"# {page.stem}\n\n{describe_code(page.stem)}")
    why, do = text.split("## Why it happens\n\n* ", 1)[1].split("\n\n## What to do\n\n* ", 1)
    assert why.strip()
    assert do.strip()
    index = (PAGES / "index.md").read_text(encoding="utf-8")
    meaning = text.splitlines()[2]
    assert f"| [{page.stem}]({page.name}) | {meaning}" in index


def test_every_error_on_the_command_line_ends_with_its_page() -> None:
    for code in codes():
        what, why, do = error_lines(code, "it is so", "Do that.")
        assert what != "error"
        assert why == "  why: it is so"
        assert do == f"  do:  Do that. See {page_of(code)}."
        assert remedy_of(code) or code == "hygge"
        assert (REPOSITORY / page_of(code)).is_file()
