"""Paths as systemd reads them: each setting has its own rules; pure.

systemd.syntax(7) and, for ExecStart=, systemd.service(5) "Command lines".
"""

from __future__ import annotations

from etl_cli.runtime.errors import UsageError


def word(text: str) -> str:
    """One word of ExecStart= or of a list of paths: in double quotes, `%` doubled, quotes and backslashes escaped."""
    escaped = specifiers(_possible(text)).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def value(text: str) -> str:
    """A whole value such as WorkingDirectory= or the path in LoadCredential=: nothing is unquoted there."""
    if text != text.strip() or text.endswith("\\"):
        raise UsageError(f"systemd cannot use the path {text!r}", "it must not end with a blank or a backslash")
    return specifiers(_possible(text))


def program(path: str) -> str:
    """The first words of ExecStart=. The `:` turns variables off, which a program's path could not escape.

    systemd refuses a program with a quote or a backslash in its path; a shell starts that one.
    """
    if not set("\"'\\") & set(path):
        return word(f":{path}")
    shell = word('exec "$0" "$@"')
    return f"{word(':/bin/sh')} -c {shell} {word(path)}"


def bind(text: str) -> str:
    """A path of BindReadOnlyPaths=: a word in which `:` would part source and destination."""
    return word(text).replace(":", "\\:")


def specifiers(text: str) -> str:
    """`%` as itself and not as the beginning of a specifier."""
    return text.replace("%", "%%")


def _possible(text: str) -> str:
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        raise UsageError(f"systemd cannot use the path {text!r}", "rename it without control characters")
    return text
