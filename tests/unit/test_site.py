"""The site of docs/: it builds without a broken link, needs nothing from elsewhere, and explains every key."""

from __future__ import annotations

import os
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from hygge_engine.project.publishing.reference import (
    ReferenceSection,
    keys_of,
    read_meanings,
    sections,
    write_reference,
)

REPOSITORY = Path(__file__).parents[2]
PYTHON = REPOSITORY / ".venv-docs/bin/python"
CONFIGURATION = (REPOSITORY / "docs/configuration.md").read_text(encoding="utf-8")

# What a browser fetches by itself; links are followed by people.
_FETCHED = {"script": "src", "img": "src", "iframe": "src", "link": "href", "source": "src"}
_NOT_FETCHED = ("canonical", "prev", "next")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not PYTHON.exists():
        pytest.skip("`make test` sets up .venv-docs")
    directory = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [PYTHON, "-m", "mkdocs", "build", "--strict", "--site-dir", directory],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return directory


def test_every_page_is_there_and_no_link_is_broken(site: Path) -> None:
    docs = REPOSITORY / "docs"
    pages = {path.relative_to(docs).with_suffix(".html").as_posix() for path in docs.rglob("*.md")}
    assert pages <= {path.relative_to(site).as_posix() for path in site.rglob("*.html")}


def test_the_reference_is_part_of_the_site_and_names_every_key(site: Path) -> None:
    page = (site / "reference.html").read_text(encoding="utf-8")
    assert not [
        key for section in sections() for key in section.model.model_fields if f"<code>{key}</code>" not in page
    ]


class _Fetches(HTMLParser):
    """Collects the addresses that a page fetches from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        address = values.get(_FETCHED.get(tag, "")) or ""
        if re.match(r"(https?:)?//", address) and values.get("rel") not in _NOT_FETCHED:
            self.found.append(address)


def test_the_site_works_offline(site: Path) -> None:
    for page in site.rglob("*.html"):
        fetches = _Fetches()
        fetches.feed(page.read_text(encoding="utf-8"))
        assert fetches.found == [], page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//|@import", sheet.read_text(encoding="utf-8")), sheet


@pytest.mark.parametrize("section", sections(), ids=lambda section: section.place)
def test_every_key_has_a_meaning_in_the_reference(section: ReferenceSection) -> None:
    known = read_meanings(CONFIGURATION).get(section.title, {})
    own = {other.model.__name__ for other in sections()}
    assert not [key.name for key in keys_of(section.model, own) if not (key.meaning or known.get(key.name))]


def test_the_reference_says_what_the_models_know() -> None:
    page = write_reference(read_meanings(CONFIGURATION))
    assert "| `concurrency` | whole number, 1 to 256 | `8` | entities moved at once in a load, 1 to 256 |" in page
    assert re.search(r"\| `password` \| secret text \|  \| .+ \|", page)
    assert re.search(r"\| `server` \| text \| \*required\* \| ", page)
    assert "| `auth` | `sql` · `managed_identity` · " in page
    assert "| `lag` | number or text | `0` | " in page
