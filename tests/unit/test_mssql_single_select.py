"""A query is one SELECT that has no way out of the parentheses it is put in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from devcloud.sqlserver.errors import SqlError
from devcloud.sqlserver.tsql.lexer import Kind, tokenize
from hygge_engine.homes.mssql.settings import MssqlHomeSettings
from hygge_engine.homes.mssql.single_select import check_query, read_tokens, without_end


def full_width(text: str) -> str:
    """Letters as wide as those of Asian scripts, which many collations take for the same."""
    return "".join(chr(ord(letter) + 0xFEE0) for letter in text)


REFUSED = {
    "a name that only seems to end": "SELECT 1 AS []]",
    "an order that the server does not take": "SELECT a FROM t ORDER BY a",
    "an exclusive lock": "SELECT a FROM t WITH (TABLOCKX)",
    "a lock held": "SELECT a FROM t WITH (XLOCK, HOLDLOCK)",
    "a lock without WITH": "SELECT a FROM t (updlock)",
    "a lock in brackets": "SELECT a FROM t WITH ([TABLOCKX])",
    "a lock in quotes": 'SELECT a FROM t AS b WITH (NOLOCK, "XLOCK")',
    "a lock in full-width letters": f"SELECT a FROM t WITH ({full_width('TABLOCKX')})",
    "a lock with an accent": "SELECT a FROM t WITH (SERİALIZÄBLE)",
    "a lock in brackets without WITH": "SELECT a FROM t ([updlock])",
    "a lock behind an alias": "SELECT a FROM dbo.t AS b (updlock)",
    "a lock behind other hints": "SELECT a FROM t WITH (INDEX(1) XLOCK)",
    "a lock before other hints": "SELECT a FROM t WITH (XLOCK INDEX(1))",
    "a lock behind hints and an alias": "SELECT a FROM t (nolock) b (updlock)",
    "a lock of the second table": "SELECT a FROM t JOIN u ON t.a = u.a, v (xlock)",
    "a lock of a joined table": "SELECT a FROM t LEFT JOIN u (xlock) ON (t.a = u.a)",
    "a lock of a table in parentheses": "SELECT a FROM (t CROSS JOIN u (xlock))",
    "a lock in a subquery": "SELECT a FROM (SELECT b AS a FROM t WITH (XLOCK)) AS c (xlock)",
    "a lock in a condition": "SELECT a FROM t WHERE EXISTS (SELECT 1 FROM u (tablock) WHERE u.a = t.a)",
    "a lock of a sample": "SELECT a FROM t TABLESAMPLE (10 PERCENT) WITH (XLOCK)",
    "a lock of the sample without WITH": "SELECT a FROM t TABLESAMPLE (10 PERCENT) (XLOCK)",
    "a lock of a table's history": "SELECT a FROM t FOR SYSTEM_TIME ALL (XLOCK)",
    "a lock of a history by its alias": "SELECT a FROM t FOR SYSTEM_TIME AS OF '2020-01-01' AS b (XLOCK)",
    "a lock as an option": "SELECT a FROM t OPTION (TABLE HINT (t, UPDLOCK))",
    "a lock as one of the options": "SELECT a FROM t OPTION (MAXDOP 1, TABLE HINT (t, INDEX (i), [updlock]))",
    "a lock behind a comment": "SELECT a FROM t WITH /* b */ (/* c */ [XLOCK] -- d\n)",
    "a lock behind a value": "SELECT a FROM t WITH (INDEX=1 TABLOCKX)",
    "a lock behind a value in digits": "SELECT a FROM t WITH (SPATIAL_WINDOW_MAX_CELLS=512 TABLOCKX)",
    "a lock behind a value that it touches": "SELECT a FROM t WITH (INDEX=1TABLOCKX)",
    **{
        f"a lock behind the number {number}": f"SELECT a, b={number}FROM t(TABLOCKX)"
        for number in (
            "1",
            "1.",
            ".5",
            "1.5",
            "1e0",
            "1E+10",
            "1.5e-3",
            ".5e0",
            "1.e1",
            "$1",
            "€.5",
        )
    },
    "a lock behind a number and a join": "SELECT a FROM t JOIN u ON t.b=0xJOIN v(TABLOCKX) ON 1=1",
    "a lock of a table like a keyword": "SELECT a FROM ##WHERE (XLOCK)",
    "a pseudo-column that is none": "SELECT a FROM t $WHERE (XLOCK)",
    "an amount without digits to some": "SELECT a, b=$FROM t (XLOCK)",
    "a lock with a mark of its own": "SELECT a FROM t WITH (XLO\u0301CK)",
    "a number that ends for some": "SELECT a, b=1eFROM t(TABLOCKX)",
    "a number that ends for some, with a sign": "SELECT a, b=1.e+FROM t(TABLOCKX)",
    "an amount that ends for some": "SELECT a FROM t WHERE b=$0XFROM t(TABLOCKX)",
    "a digit of another script": "SELECT a FROM t JOIN u ON b=٣0xJOIN v(TABLOCKX)",
    "a number on two lines": "SELECT a FROM t JOIN u ON t.b=0x\\\nEJOIN v(TABLOCKX) ON 1=1",
    "a blank to some": "SELECT a FROM t (\1XLOCK)",
    "a blank without width": "SELECT a FROM t (XLOCK\u200b)",
    "a word within which nothing is": "SELECT a IN\u00adTO t FROM u",
    "a lock behind a name in brackets": "SELECT a FROM t WITH (INDEX = [i] [TABLOCKX])",
    "a lock between values": "SELECT a FROM t WITH (FORCESEEK(i(a)) XLOCK, INDEX=(1))",
    "a lock behind a value without WITH": "SELECT a FROM t (INDEX=1 XLOCK)",
    "a lock behind a value as an option": "SELECT a FROM t OPTION (TABLE HINT (t, INDEX=i UPDLOCK))",
    "a lock behind an alias like a function": "SELECT a FROM dbo.t AS string_split (TABLOCKX)",
    "a lock behind an alias like a function, bare": "SELECT a FROM dbo.t openjson (TABLOCKX)",
    "a lock of a table like a function": "SELECT a FROM dbo.[openjson] (TABLOCKX)",
    "a lock of a table like a function, quoted": 'SELECT a FROM "generate_series" (TABLOCKX)',
    "a lock of a history between times": "SELECT a FROM t FOR SYSTEM_TIME CONTAINED IN ('2020', '2021') AS b (XLOCK)",
    "a lock of a history within times": "SELECT a FROM t FOR SYSTEM_TIME BETWEEN '1' AND '2' b (XLOCK)",
    "a lock of a sample of pages": "SELECT a FROM t TABLESAMPLE SYSTEM (10 PERCENT) b (XLOCK)",
    "a lock of a sample by its alias": "SELECT a FROM t TABLESAMPLE (10 PERCENT) AS b (XLOCK)",
    "a lock of a sample of a seed": "SELECT a FROM t TABLESAMPLE (10 PERCENT) REPEATABLE (5) b (XLOCK)",
    "a lock behind values and an alias": "SELECT a FROM t (INDEX=1) b (updlock)",
    "a lock without parentheses": "SELECT a FROM t HOLDLOCK",
    "a file by a name in other letters": f"SELECT * FROM sys.{full_width('f')}n_get_audit_file('x', NULL, NULL)",
    "a lock of ranges": "SELECT a FROM t WITH (SERIALIZABLE)",
    "whether a file is there": "SELECT * FROM sys.dm_os_file_exists(N'\\\\host\\share')",
    "a file by a quoted name": "SELECT * FROM sys.[fn_get_audit_file]('x', NULL, NULL)",
    "a file of audits": "SELECT * FROM sys.fn_get_audit_file_v2('x', NULL, NULL, NULL, NULL)",
    "a stream of events": "SELECT * FROM sys.fn_MSxe_read_event_stream('x', 1)",
    "what is in a folder": "SELECT * FROM sys.dm_os_enumerate_filesystem('x', '*')",
    "a log in a file": "SELECT * FROM sys.fn_full_dblog(NULL, NULL)",
    "a procedure as a function": "SELECT * FROM master..[xp_dirtree] ('x')",
    "a file of events": "SELECT * FROM sys.fn_xe_file_target_read_file('x', NULL, NULL, NULL)",
    "a file of a trace": "SELECT * FROM fn_trace_gettable('x', 1)",
    "a statement behind": "SELECT 1 AS a) q; CREATE TABLE dbo.pwned (a int) --",
    "a statement behind a semicolon": "SELECT 1 AS a; DROP TABLE x",
    "a parenthesis too many": "SELECT 1 AS a) AS b, (SELECT 2 AS c",
    "one that closes and opens": "SELECT 1 AS a) AS q CROSS JOIN (SELECT 2 AS b",
    "a parenthesis too few": "SELECT (1 AS a",
    "no semicolon": "SELECT 1 AS a DROP TABLE x",
    "a table made": "SELECT * INTO dbo.copy FROM dbo.orders",
    "a comment within the word's place": "SELECT * /* x */ INTO/**/dbo.copy FROM dbo.orders",
    "a number before the word": "SELECT 1INTO x",
    "a number with an exponent before the word": "SELECT b=1e0INTO x FROM t",
    "something else": "DELETE FROM dbo.orders",
    "a procedure": "EXEC xp_cmdshell 'id'",
    "another server": "SELECT * FROM OPENQUERY(other, 'DELETE FROM t')",
    "another server's source": "SELECT * FROM OpenDataSource('x', 'y').a.b.c",
    "a file of the server": "SELECT * FROM OPENROWSET(BULK '/etc/passwd', SINGLE_CLOB) AS x",
    "a sequence": "SELECT NEXT VALUE FOR dbo.numbers AS n",
    "a common table expression": "WITH a AS (SELECT 1 AS b) SELECT * FROM a",
    "a comment that nothing ends": "SELECT 1 AS a /* ",
    "a comment that is ended once": "SELECT 1 AS a /* /* */ ",
    "a text that nothing ends": "SELECT 'a AS b",
    "a name that nothing ends": "SELECT 1 AS [a",
    "a quote that nothing ends": 'SELECT 1 AS "a',
    "a line that ends for some": "SELECT 1 AS a --\r) q; DROP TABLE x --\n",
    "NUL": "SELECT 1 AS a\0",
    "nothing": "  -- nothing\n",
    "a comment within a comment": "SELECT 1 AS a /* /* */ ) q; DROP TABLE dbo.orders -- */",
    **{f"a line break of its own, {ord(end):x}": f"SELECT 1 AS a --{end}) q" for end in "\x0b\x0c\x85\u2028\u2029"},
}
TAKEN = [
    "SELECT 1 AS a",
    "select a, b from dbo.orders where c = 'it''s; DROP TABLE x) --'",
    'SELECT 1 AS [a; DROP TABLE x)]]], 2 AS "b)"""',
    "SELECT 1 AS a;",
    "SELECT 1 AS a; -- the end",
    "SELECT 1 AS a -- ) q; DROP TABLE x",
    "SELECT 1 AS a /* ) ; */\r\nFROM b",
    "-- first\n(SELECT 1 AS a) UNION ALL (SELECT 2)",
    "SELECT updated_at, [set], x.deleted, into_at, IIF(a = 1, 2, 3) AS dropped FROM x AS inserted",
    "SELECT a FROM b CROSS APPLY OPENJSON(c) WITH (d int) AS e",
    "SELECT xlock, updlock AS tablock, t.serializable, [holdlock] AS [TABLOCKX] FROM tablock AS xlock",
    "SELECT COUNT(xlock) AS a, MAX([updlock]) OVER (PARTITION BY tablock ORDER BY (xlock)) AS b FROM t",
    "SELECT a FROM t WHERE (xlock) = 1 AND updlock IN (xlock, tablock) GROUP BY ROLLUP (xlock, updlock)",
    "SELECT a FROM t JOIN u ON (xlock) = (tablock) AND f(updlock) = 1",
    "SELECT xlock FROM (VALUES (1)) AS v (xlock)",
    "SELECT xlock FROM (SELECT b FROM t) AS v (xlock), f(1) g (updlock, tablock), f() h (xlock)",
    "SELECT a FROM t CROSS APPLY OPENJSON(xlock) WITH (xlock int, [updlock] nvarchar(10) '$.x') AS e",
    "SELECT a FROM t CROSS APPLY dbo.f(t.xlock, t.[updlock]) AS e CROSS APPLY STRING_SPLIT(xlock, ',')",
    "SELECT a FROM t PIVOT (SUM(xlock) FOR updlock IN ([tablock], [xlock])) AS p",
    "SELECT (SELECT xlock FROM t FOR JSON PATH, ROOT('xlock')) AS a, (updlock) AS b FROM t",
    "SELECT a FROM t UNPIVOT (updlock FOR name IN (xlock, tablock)) AS p",
    "SELECT a FROM b WITH (NOLOCK)",
    "SELECT a FROM t AS sp_x (nolock) JOIN dbo.sp_y (readpast) ON 1 = 1 CROSS APPLY (SELECT 1) AS xp_z (b)",
    "SELECT a AT TIME ZONE 'UTC' AT TIME ZONE N'CET' AS b, t.[into], [exec] AS [waitfor] FROM sp_orders t",
    "SELECT a FROM t WITH (INDEX=xlock, FORCESEEK(tablock(updlock))) JOIN u WITH (INDEX([xlock]) NOLOCK) ON 1 = 1",
    "SELECT a FROM t CROSS APPLY t.d.nodes('/a') AS v (updlock) CROSS APPLY GENERATE_SERIES(xlock, tablock)",
    "SELECT a FROM CHANGETABLE(CHANGES dbo.t, 0) AS v (xlock), (VALUES (1)) w ([tablock], [index])",
    "SELECT 1e0 AS a, .5E-3 b, 1. c, $1.5 d, 0x e, 0xE0 f, e1, @a, a.b$c, N'\\\u200b' [\\\u200b] FROM #t -- \u200b \\",
    "SELECT $node_id AS a, $IDENTITY b, $partition.f(c) d FROM t",
    "SELECT ราคาที่, e\u0301t\u0301e FROM t",
    "SELECT sp_rate, t.xp_points AS [sp_points] FROM players AS t WHERE sp_rate > 1",
    "SELECT a FROM t INNER MERGE JOIN u ON 1 = 1 LEFT HASH JOIN v ON 1 = 1 INNER LOOP JOIN w ON 1 = 1",
]


@pytest.mark.parametrize("query", REFUSED.values(), ids=REFUSED)
def test_what_is_no_single_select_is_refused(query: str) -> None:
    with pytest.raises(ValidationError, match="query"):
        MssqlHomeSettings(connection="shop", query=query)


@pytest.mark.parametrize("name", [name for name in REFUSED if "lock " in name])
def test_a_lock_is_named_as_what_is_wrong(name: str) -> None:
    with pytest.raises(ValueError, match="takes no locks on the table"):
        check_query(REFUSED[name])


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("SELECT a FROM t OPTION (USE HINT('FORCE_LEGACY_CARDINALITY_ESTIMATION'))", "takes no OPTION"),
        ("SELECT a FROM t OPTION (MAXDOP 1, USE PLAN N'<x/>')", "takes no OPTION"),
        ("SELECT a FROM t JOIN u ON 1 = 1 OPTION (MERGE JOIN)", "takes no OPTION"),
        ("SELECT a FROM t OPTION (USE HINT('x'), TABLE HINT (t, XLOCK))", "takes no locks on the table"),
        ("SELECT a FROM t OPTION (USE HINT('x')) USE master", "no USE"),
        ("SELECT a FROM t USE master", "no USE"),
        ("SELECT a FROM dbo.sp_orders('x') AS f", "sp_orders is called like a procedure"),
        ("SELECT dbo.[sp_rate](a) FROM t", r"\[sp_rate\] is called like a procedure"),
        ("SELECT a FROM t CROSS APPLY xp_dirtree('x') AS f", "xp_dirtree is called like a procedure"),
        ("SELECT a FROM OPENROWSET('x', 'y', 'z')", "no OPENROWSET"),
        ("SELECT a FROM OPENQUERY(x, 'y')", "no OPENQUERY"),
        ("SELECT a INTO #b FROM t", "no INTO; a column of such a name stands in brackets"),
        ("SELECT t.into FROM t", "no INTO; a column of such a name stands in brackets"),
        ("SELECT a FROM t WAITFOR DELAY '1:00'", "no WAITFOR"),
        ("SELECT a FROM t EXEC sp_who", "no EXEC"),
        ("EXEC sp_who", "begins with SELECT"),
        ("SELECT * FROM sys.fn_get_audit_file('x', NULL, NULL)", "reads files of the server"),
    ],
)
def test_what_is_refused_is_named(query: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        check_query(query)


@pytest.mark.parametrize("query", TAKEN)
def test_selects_are_taken_as_they_are(query: str) -> None:
    assert MssqlHomeSettings(connection="shop", query=query).query == query


# Whatever opens, closes, hides or ends something, in any order.
PARTS = st.sampled_from(["'", '"', "[", "]", "(", ")", ";", "--", "\n", "/*", "*/", "SELECT", " ", "a", "DROP", "1"])


@given(st.lists(PARTS, max_size=25))
def test_a_query_that_is_taken_stays_in_its_parentheses(parts: list[str]) -> None:
    query = "SELECT 1 " + "".join(parts)
    try:
        check_query(query)
    except ValueError:
        return
    for nests in (True, False):
        assert _ends_alone(f"({without_end(query).strip()}\n)", nests=nests)


def _ends_alone(text: str, *, nests: bool) -> bool:
    """Whether the parenthesis that begins ``text`` is closed by its last character: read letter by letter, as SQL
    Server's manual tells it, and not as the engine reads. Comments are within comments where a server ``nests``
    them."""
    depth, comments, at, closes = 0, 0, 0, {"'": "'", '"': '"', "[": "]"}
    while at < len(text):
        if comments:
            step = 1 if text.startswith("/*", at) else -1 if text.startswith("*/", at) else 0
            step = min(step, 0) if not nests else step
            comments, at = comments + step, at + (2 if step else 1)
        elif text.startswith("/*", at):
            comments, at = 1, at + 2
        elif text.startswith("--", at):
            at = text.find("\n", at) if "\n" in text[at:] else len(text)
        elif text[at] in closes:
            close = closes[text[at]]
            end = at + 1
            while (end := text.find(close, end)) >= 0 and text[end : end + 2] == close * 2:
                end += 2
            if end < 0:
                return False
            at = end + 1
        else:
            depth += {"(": 1, ")": -1}.get(text[at], 0)
            at += 1
            if depth == 0:
                return at == len(text)
            if text[at : at + 1] == ";":
                return False
    return False


# What a word may touch, and what it may be hidden behind.
TOUCHING = st.sampled_from(
    [*"eExX019.+-$_af \n'\"[]@#(),=é€²٣", "INTO", "from", "JOIN", "exec", "0x", "0X", "--", "/*", "*/"]
)


@given(st.lists(TOUCHING, max_size=12))
def test_words_are_where_the_stand_in_reads_them(parts: list[str]) -> None:
    """A word that one reader sees, and another takes for a part of a number, is how a keyword hides."""
    query = "".join(parts)
    tokens = [(kind, text) for kind, text, _ in read_tokens(query)]
    if {"doubtful", "unclosed"} & {kind for kind, _ in tokens}:
        return  # which is refused
    words = [text.upper() for kind, text in tokens if kind == "word"]
    try:
        expected = [token.upper for token in tokenize(query) if token.kind in (Kind.NAME, Kind.VARIABLE)]
    except SqlError:
        return
    assert words == expected
