"""What a YAML parser has found wrong, in the words of those who write the files, and at the place where it began."""

from __future__ import annotations

import re

import yaml

from hygge_engine.errors import Problem
from hygge_engine.project.telling.problems import SourceText, line_and_column

NOT_VALID = "this is not valid YAML"

_TOO_DEEP = "a key that is indented further than the line above it"

# Findings about something unclosed are made far behind it; the place to look at is where it begins.
_BEGINS_AT_CONTEXT = ("while scanning a quoted scalar", "while scanning a simple key", "while parsing a flow")

# How the parser says what it had hoped for.
_EXPECTATION = re.compile(r"(?:did not find )?expected (?P<expected>.+?)(?:,? but (?:found|got) (?P<found>.+))?")

# The parser's names of things.
_TOKENS = {
    "<block end>": "the end of the indented block",
    "<block mapping start>": "a line that is indented otherwise than its neighbours",
    "<block sequence start>": "a list item that is indented otherwise than its neighbours",
    "<document start>": "the end of the file",
    "<scalar>": "a value",
    "<stream end>": "the end of the file",
    "-": "a list item that begins with `-`",
    "?": "a key",
}

# `key:value`, which YAML reads as one text. An address such as `http://` is none.
_NO_BLANK = re.compile(r"\s*(?:- +)?(?P<key>[A-Za-z_][\w-]*):(?P<value>[^\s/:].*)")

_COMMENTS_ELSEWHERE = ("//", "--", ";", "/*")

# A placeholder where YAML takes braces for a mapping.
_PLACEHOLDER = re.compile(r"\{(?:entity|flow)\}")

# Blanks that are none to YAML, before something that looks like a key or an item: copied from a web page or a document.
_ODD_BLANK = re.compile(
    r"^[ \t]*(?P<blank>[\u00a0\u1680\u2000-\u200b\u202f\u205f\u3000\ufeff])\s*(?:- |[\w-]+:)", re.MULTILINE
)


def find_odd_blanks(source: SourceText) -> list[Problem]:
    """Indentation that only looks like blanks."""
    found = []
    for match in _ODD_BLANK.finditer(source.text):
        line, column = line_and_column(source.text, match.start("blank"))
        character = f"U+{ord(match['blank']):04X}, which only looks like a blank"
        hint = "It comes from a web page or a word processor: type the line's indentation again."
        found.append(source.problem(line, column, NOT_VALID, found=character, expected="spaces", hint=hint))
    return found


def explain_character(source: SourceText, error: yaml.reader.ReaderError) -> Problem:
    """A character that no YAML file may hold."""
    line, column = line_and_column(source.text, error.position)
    character = error.character if isinstance(error.character, int) else ord(error.character)
    hint = "Delete it; editors show it as a box or a question mark, or not at all."
    return source.problem(line, column, NOT_VALID, found=f"the character U+{character:04X}", hint=hint)


def explain(source: SourceText, error: yaml.MarkedYAMLError) -> Problem:
    """The parser's finding. Its own words may quote a value, so only known ones are passed on."""
    mark = error.problem_mark
    if mark is None or (error.context or "").startswith(_BEGINS_AT_CONTEXT):
        mark = error.context_mark or mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    for number in (line, _line_before(source, line)):
        if match := _NO_BLANK.fullmatch(source.line(number)):
            column = match.end("key") + 1
            expected = f"`{match['key']}: ` and the value"
            return source.problem(number, column, NOT_VALID, found="no blank after the colon", expected=expected)
    if (error.context or "").startswith("while parsing a flow") and (opened := _never_closed(source.text)):
        mark, mark_open, mark_close = opened
        line, column = mark.line + 1, mark.column + 1
        found = f"`{mark_open}` opens here, and nothing closes it"
        return source.problem(line, column, NOT_VALID, found=found, expected=f"`{mark_close}` at its end")
    words = _words(error, source.line(line))
    if words.get("found") == _TOO_DEEP:
        column = len(source.line(line)) - len(source.line(line).lstrip()) + 1
    return source.problem(line, column, NOT_VALID, **words)


def _never_closed(text: str) -> tuple[yaml.Mark, str, str] | None:
    """Where the innermost bracket or brace begins that nothing closes, with it and what would close it; None where
    there is none, or where the text has another fault before its end. Those within quotes do not count."""
    opened: list[tuple[yaml.Mark, str, str]] = []
    try:
        for token in yaml.scan(text):
            if isinstance(token, yaml.FlowMappingStartToken):
                opened.append((token.start_mark, "{", "}"))
            elif isinstance(token, yaml.FlowSequenceStartToken):
                opened.append((token.start_mark, "[", "]"))
            elif isinstance(token, yaml.FlowMappingEndToken | yaml.FlowSequenceEndToken) and opened:
                closes = "}" if isinstance(token, yaml.FlowMappingEndToken) else "]"
                if opened[-1][2] != closes:
                    break
                opened.pop()
    except yaml.YAMLError:
        return None
    return opened[-1] if opened else None


def _line_before(source: SourceText, line: int) -> int:
    """The nearest line before that says something; 0 where there is none."""
    while line > 1:
        line -= 1
        if source.line(line).strip() and not source.line(line).lstrip().startswith("#"):
            return line
    return 0


def _words(error: yaml.MarkedYAMLError, text: str) -> dict[str, str]:
    finding = error.problem or ""
    if "unknown escape character" in finding or "escape sequence" in finding:
        hint = "Write paths with `/`, or put the value into single quotes, where a backslash is just that."
        return {"found": "a backslash in double quotes, where it begins an escape sequence", "hint": hint}
    if "unexpected end of stream" in finding or error.context == "while scanning a quoted scalar":
        return {"found": "a quote that nothing closes"}
    if "mapping values are not allowed" in finding and text.count(": ") > 1 and "{" not in text.partition(": ")[0]:
        return {"found": "a second `: ` on the line", "hint": "Quote the value."}
    in_flow = (error.context or "").startswith("while parsing a flow")
    if (_PLACEHOLDER.search(text) or (in_flow and "${" in text)) and "tab" not in finding:
        hint = 'A value with braces needs quotes: `table: "dbo.{entity}"`.'
        return {"found": "braces that YAML takes for a mapping", "hint": hint}
    if "undefined alias" in finding or error.context == "while scanning an alias":
        return {
            "found": "a value that begins with `*`, which YAML reads as a reference",
            "hint": "Quote the value, or set the anchor (`&name`) before it.",
        }
    if "\\t" in finding:
        return {"found": "a tab", "expected": "spaces", "hint": "YAML allows no tabs here, nor for indentation."}
    if "cannot start any token" in finding:
        hint = " Variables are written `${NAME}`." if "'%'" in finding else ""
        mark = finding.partition("'")[2].rpartition("'")[0]
        return {"found": f"a value that begins with `{mark}`", "hint": f"Quote the value.{hint}"}
    if "mapping values are not allowed" in finding:
        if text.count(": ") + text.rstrip().endswith(":") == 1:
            return {"found": _TOO_DEEP, "hint": "Give it as many blanks as the other keys of its section."}
        return {"found": "a second `: ` on the line", "hint": "Quote the value."}
    if "could not find expected ':'" in finding:
        hint = "A comment begins with `#`." if text.lstrip().startswith(_COMMENTS_ELSEWHERE) else ""
        return {"found": "a key without a colon", "expected": "`key: value`", "hint": hint}
    if (error.context or "").startswith("while parsing a flow"):
        return {"found": "a bracket or brace that nothing closes, or a comma that is missing or too many"}
    if "duplicate anchor" in finding:
        return {"found": "the same anchor (`&name`) twice"}
    if "expected a single document" in (error.context or ""):
        return {"found": "a second document after `---`", "expected": "one document per file"}
    expectation = _EXPECTATION.fullmatch(finding)
    if expectation is None:
        return {"found": finding.removeprefix("found ")} if finding.startswith("found ") else {"hint": finding}
    if "block mapping start" in finding:
        hint = "Give it as many blanks as the other keys of its section."
        return {"found": _TOKENS["<block mapping start>"], "hint": hint}
    return {
        "found": _name_token(expectation["found"] or ""),
        "expected": _name_token(expectation["expected"]),
        "hint": "Look at this line and the one above it: indentation, brackets and quotes.",
    }


def _name_token(token: str) -> str:
    bare = token.strip("'")
    return _TOKENS.get(bare, f"`{bare}`" if bare else "")
