"""What mkdocs does not do by itself for the site of docs/: the generated reference, navigation by pattern, and links to
files of the repository, which is no part of the site."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))

from hygge_engine.project.publishing.reference import (  # noqa: E402 - the path comes first
    read_meanings,
    write_reference,
)

_LINK = re.compile(r"\[(?P<text>[^\]]+)\]\((?P<target>(?:\.\./)+[^)#\s]+)\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Replace patterns in the navigation by the pages that they match and that no other entry names."""
    docs = Path(config.docs_dir)
    named = {entry for entry in _pages(config.nav) if "*" not in entry}
    config.nav = _expand(config.nav, docs, named)
    return config


def _pages(entry: Any) -> list[str]:
    if isinstance(entry, str):
        return [entry]
    values = entry.values() if isinstance(entry, dict) else entry
    return [page for value in values for page in _pages(value)]


def _expand(entries: list[Any], docs: Path, named: set[str]) -> list[Any]:
    expanded: list[Any] = []
    for entry in entries:
        if isinstance(entry, dict):
            ((title, value),) = entry.items()
            expanded.append({title: _expand(value, docs, named) if isinstance(value, list) else value})
        elif "*" in entry:
            found = sorted(path.relative_to(docs).as_posix() for path in docs.glob(entry))
            expanded += [page for page in found if page not in named]
        else:
            expanded.append(entry)
    return expanded


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the configuration reference, with what the configuration page says about each key."""
    text = (Path(config.docs_dir) / "configuration.md").read_text(encoding="utf-8")
    files.append(File.generated(config, "reference.md", content=write_reference(read_meanings(text))))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Name files of the repository instead of linking to them."""
    folder = Path(config.docs_dir, page.file.src_uri).parent

    def name_file(match: re.Match[str]) -> str:
        target = (folder / match["target"]).resolve()
        if target.is_relative_to(config.docs_dir):
            return match[0]
        path = f"`{target.relative_to(REPOSITORY).as_posix()}`"
        return path if match["text"] in path else f"{match['text']} ({path})"

    return _LINK.sub(name_file, markdown)
