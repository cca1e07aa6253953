#!/usr/bin/env python3
"""Write tests/unit/az_commands.json: the options of each `az` command that pages, scripts and pipelines name.

The source is the Azure CLI's own tables of commands, read without a login. `make check-infra` compares them with the
file, and the commands that are written with them (``--check``); after a new command or with a new version, in its
environment (`requirements-az.txt`):

    .venv-az/bin/python scripts/az_commands.py
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "tests" / "unit" / "az_commands.json"

# Words of our scripts that stand for others: a variable that holds one of several, a function that is one command.
VARIABLES = {"$command": ("create", "what-if")}
FUNCTIONS = {"template": ("deployment", "sub"), "grant": ("role", "assignment", "create")}

_SHELLS = {"", "sh", "bash", "console", "powershell", "pwsh"}
_FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(az [a-z][^`]+)`")
_STEPS = {"run", "script", "bash", "pwsh", "inlineScript"}


@dataclass(frozen=True)
class Written:
    """A command as it is written somewhere, without `az`. ``whole``: to be typed as it stands, not just named."""

    where: str
    words: tuple[str, ...]
    whole: bool


def written(root: Path = ROOT) -> list[Written]:
    """Every `az` command of pages, scripts, templates and pipelines."""
    found: list[Written] = []
    pages = [root / "README.md", root / "CONTRIBUTING.md", *sorted((root / "docs").rglob("*.md"))]
    scripts = sorted(path for path in (root / "infra" / "scripts").iterdir() if path.suffix in (".py", ".sh"))
    templates = [path for path in sorted((root / "infra").rglob("*")) if path.suffix in (".tf", ".bicep")]
    code = sorted((root / "hygge_engine").rglob("*.py"))
    pipelines = sorted([*(root / ".github" / "workflows").glob("*.yml"), *(root / "azure-pipelines").rglob("*.yml")])
    for path in [*pages, *scripts, *templates, *code, *pipelines]:
        where, text = str(path.relative_to(root)), path.read_text(encoding="utf-8")
        for words in [] if path in code else _whole(path, text):
            found += _az(where, words, whole=True)
        outside = _FENCED.sub("", text) if path.suffix == ".md" else text
        for inline in _INLINE.findall(outside):
            for words in shell_commands(re.sub(r"\s*\n[\s#/]*", " ", inline)):
                found += _az(where, words, whole=False)
    return found


def _whole(path: Path, text: str) -> Iterator[list[str]]:
    """The commands of a file that are run, or are to be."""
    match path.suffix:
        case ".md":
            for _, language, block in _FENCED.findall(text):
                if language in _SHELLS:
                    yield from shell_commands(block)
        case ".sh":
            yield from shell_commands(text)
        case ".yml":
            for document in yaml.safe_load_all(text):
                for script in _steps(document):
                    yield from shell_commands(script)
        case ".py":
            for node in ast.walk(ast.parse(text)):
                # `[az, "account", …]` and `azure_cli("account", …)`.
                if isinstance(node, ast.List) and node.elts and isinstance(node.elts[0], ast.Name):
                    name, items = node.elts[0].id, node.elts[1:]
                elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    name, items = node.func.id, node.args
                else:
                    continue
                if name in ("az", "azure_cli") and not any(isinstance(each, ast.Starred) for each in items):
                    yield ["az", *(str(each.value) if isinstance(each, ast.Constant) else "$" for each in items)]


def _steps(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            if name in _STEPS and isinstance(value, str):
                yield value
            else:
                yield from _steps(value)
    elif isinstance(node, list):
        for value in node:
            yield from _steps(value)


def _az(where: str, words: list[str], *, whole: bool) -> Iterator[Written]:
    if "az" in words:
        command = words[words.index("az") + 1 :]
        variable = next((word for word in command if word in VARIABLES), None)
        for value in VARIABLES.get(variable or "", ("",)):
            yield Written(where, tuple(value if word == variable else word for word in command), whole)
    elif words and words[0] in FUNCTIONS and words[1:]:
        yield Written(where, (*FUNCTIONS[words[0]], *words[1:]), whole=False)


def shell_commands(text: str) -> list[list[str]]:
    """Every simple command of a text of sh or PowerShell, those within ``$(…)`` too, as words without quotes."""
    found: list[list[str]] = []
    _scan(text, 0, "", found)
    return found


def _scan(text: str, at: int, end: str, found: list[list[str]]) -> int:
    """Read commands up to the character ``end``, and say where they end."""
    words: list[str] = []
    word: str | None = None
    quote = ""
    while at < len(text):
        one, two = text[at], text[at : at + 2]
        if two in ("\\\n", "`\n") and quote != "'":
            one = " "
            at += 1
        if quote != "'" and two == "$(":
            at = _scan(text, at + 2, ")", found)
            word = (word or "") + "$"
            continue
        if not quote and (given := re.compile(r"\$\{\w+:\+").match(text, at)):
            # `${NAME:+words}`: the words are there, or not.
            at = given.end()
            continue
        if two == "${" and quote != "'":
            close = text.index("}", at)
            word = (word or "") + text[at : close + 1]
            at = close + 1
            continue
        at += 1
        if one == "\\" and quote != "'":
            word = (word or "") + text[at : at + 1]
            at += 1
        elif quote:
            quote, word = ("", word) if one == quote else (quote, (word or "") + one)
        elif one in "'\"":
            quote, word = one, word or ""
        elif one == "#" and word is None:
            at = text.find("\n", at) if "\n" in text[at:] else len(text)
        elif one in " \t{}\n;|&()":
            if word is not None:
                words.append(word)
                word = None
            if one in "\n;|&()":
                found.append(words)
                words = []
            if one == end:
                return at
        else:
            word = (word or "") + one
    found.append([*words, word] if word is not None else words)
    return at


def faults(command: Written, table: dict[str, Any]) -> list[str]:
    """What the Azure CLI would say to a command, by what the table knows."""
    name = command_of(command.words, table)
    if name is None:
        return [f"{command.where}: az {' '.join(command.words)}: there is no such command"]
    options: dict[str, Any] = table[name]["options"] | GLOBAL
    given = [(*word.partition("=")[::2], place) for place, word in enumerate(command.words) if word.startswith("-")]
    found = [f"az {name} has no option {option}" for option, _, _ in given if option not in options]
    for option, value, place in given:
        allowed = options.get(option)
        text = value or next(iter(command.words[place + 1 : place + 2]), "")
        if allowed and re.fullmatch(r"[\w.-]+", text) and text.lower() not in [each.lower() for each in allowed]:
            found.append(f"az {name} {option} takes {', '.join(allowed)}, not {text}")
    if command.whole:
        names = {option for option, _, _ in given}
        missing = [each for each in table[name]["required"] if not names & set(each)]
        found += [f"az {name} wants {' or '.join(each)}" for each in missing]
    return [f"{command.where}: {fault}" for fault in found]


# What every command takes.
GLOBAL: dict[str, Any] = {
    **dict.fromkeys(("--debug", "--help", "-h", "--only-show-errors", "--query", "--subscription", "--verbose")),
    **{name: ["json", "jsonc", "none", "table", "tsv", "yaml", "yamlc"] for name in ("--output", "-o")},
}


def command_of(words: tuple[str, ...], known: Any) -> str | None:
    """The command that words begin with; None where there is none."""
    names = words[: next((place for place, word in enumerate(words) if word.startswith("-")), len(words))]
    return next((name for end in range(len(names), 0, -1) if (name := " ".join(names[:end])) in known), None)


class AzureCli:
    """The tables of commands of the Azure CLI that is installed beside this Python."""

    def __init__(self) -> None:
        # Its generated code warns of itself; its settings of a person do not matter here.
        warnings.simplefilter("ignore")
        os.environ["AZURE_CONFIG_DIR"] = tempfile.mkdtemp()
        from azure.cli.core import __version__, get_default_cli

        self.version: str = __version__
        self._cli = get_default_cli()
        self._cli.invocation = self._cli.invocation_cls(
            cli_ctx=self._cli,
            parser_cls=self._cli.parser_cls,
            commands_loader_cls=self._cli.commands_loader_cls,
            help_cls=self._cli.help_cls,
        )

    def options(self, words: tuple[str, ...]) -> tuple[str, dict[str, Any]] | None:
        """The command that words begin with, and what it takes; None where there is none."""
        loader = self._cli.invocation.commands_loader
        commands = loader.load_command_table(list(words))
        name = command_of(words, commands)
        if name is None:
            return None
        self._cli.invocation.data |= {"command_string": name, "command": name}
        loader.command_name = name
        loader.load_arguments(name)
        options: dict[str, Any] = {}
        required = []
        for argument in commands[name].arguments.values():
            names = sorted(str(each) for each in argument.options_list or [] if str(each).startswith("-"))
            if not names or names == ["--cmd"]:
                continue
            choices = sorted(str(each) for each in argument.choices) if argument.choices else None
            options |= dict.fromkeys(names, choices)
            if argument.type.settings.get("required"):
                required.append(names)
        return name, {"options": dict(sorted(options.items())), "required": sorted(required)}


def facts() -> dict[str, Any]:
    """The table. Raises ValueError where a command is written that there is not."""
    cli = AzureCli()
    commands: dict[str, Any] = {}
    for words in sorted({each.words for each in written()}):
        if command_of(words, commands) is None:
            found = cli.options(words)
            if found is None:
                raise ValueError(f"az {' '.join(words)}: there is no such command")
            commands[found[0]] = found[1]
    return {"version": cli.version, "commands": dict(sorted(commands.items()))}


def main(arguments: list[str]) -> int:
    """Write the table, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where the table is another one")
    options = parser.parse_args(arguments)
    try:
        found = facts()
    except ValueError as error:
        print(f"az_commands: {error}", file=sys.stderr)
        return 1
    text = json.dumps(found, indent=1) + "\n"
    if not options.check:
        TABLE.write_text(text, encoding="utf-8")
    elif text != TABLE.read_text(encoding="utf-8"):
        print(f"az_commands: {TABLE.relative_to(ROOT)} is not what azure-cli {found['version']} says", file=sys.stderr)
        return 1
    elif wrong := [fault for command in written() for fault in faults(command, found["commands"])]:
        print(*wrong, sep="\n", file=sys.stderr)
        return 1
    print(f"az_commands: {len(found['commands'])} commands of azure-cli {found['version']}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
