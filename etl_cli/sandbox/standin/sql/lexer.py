"""T-SQL text to tokens."""

from __future__ import annotations

import re
from typing import NamedTuple

from etl_cli.sandbox.standin.errors import SqlError, syntax

NAME, QUOTED, STRING, NSTRING, NUMBER, BINARY, VARIABLE, OPERATOR, END = (
    "name", "quoted", "string", "nstring", "number", "binary", "variable", "operator", "end",
)  # fmt: skip


class Token(NamedTuple):
    """One token; text is the value: quotes are gone, words keep their case."""

    kind: str
    text: str
    line: int
    start: int
    end: int

    @property
    def word(self) -> str:
        """The text in upper case when it may be a keyword, else ''."""
        return self.text.upper() if self.kind == NAME else ""


_PATTERN = re.compile(
    r"""(?P<space>\s+|--[^\n]*)
    |(?P<comment>/\*)
    |(?P<nstring>[nN]'(?:[^']|'')*')
    |(?P<string>'(?:[^']|'')*')
    |(?P<bracket>\[(?:[^\]]|\]\])*\])
    |(?P<quoted>"(?:[^"]|"")*")
    |(?P<binary>0[xX][0-9a-fA-F]*)
    |(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    |(?P<variable>@@?[\w@$\#]+)
    |(?P<name>[^\W\d][\w@$\#]*|\#\#?[\w@$\#]+)
    |(?P<operator><=|>=|<>|!=|!<|!>|::|\+=|-=|\*=|/=|%=|[-+*/%=<>(),.;&|^~:])
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")


def tokenize(text: str) -> tuple[Token, ...]:
    """Return the tokens with an END behind the last; 102 for a character that begins none."""
    tokens: list[Token] = []
    position, line = 0, 1
    while position < len(text):
        found = _PATTERN.match(text, position)
        if found is None:
            raise _unreadable(text, position, line)
        kind, end = str(found.lastgroup), found.end()
        if kind == "comment":
            end = _comment_end(text, position, line)
        elif kind != "space":
            tokens.append(_token(kind, found.group(), line, position))
        line += text.count("\n", position, end)
        position = end
    tokens.append(Token(END, "", line, len(text), len(text)))
    return tuple(tokens)


def _token(kind: str, text: str, line: int, start: int) -> Token:
    end = start + len(text)
    if kind == "nstring":
        return Token(NSTRING, text[2:-1].replace("''", "'"), line, start, end)
    if kind == "string":
        return Token(STRING, text[1:-1].replace("''", "'"), line, start, end)
    if kind == "bracket":
        return Token(QUOTED, text[1:-1].replace("]]", "]"), line, start, end)
    if kind == "quoted":
        return Token(QUOTED, text[1:-1].replace('""', '"'), line, start, end)
    return Token(kind, text, line, start, end)


def _comment_end(text: str, position: int, line: int) -> int:
    """Comments nest in T-SQL."""
    depth = 0
    for edge in _COMMENT_EDGE.finditer(text, position):
        depth += 1 if edge.group() == "/*" else -1
        if depth == 0:
            return edge.end()
    raise SqlError(113, "Missing end comment mark '*/'.", severity=15, line=line)


def _unreadable(text: str, position: int, line: int) -> SqlError:
    if text[position] in "'\"[":
        rest = text[position + 1 : position + 50]
        return SqlError(105, f"Unclosed quotation mark after the character string '{rest}'.", severity=15, line=line)
    return syntax(text[position], line)
