"""Changes the one key `schedule` in the text of a config.yaml; every other byte stays; pure.

Not a YAML round-tripper: what it would write again, quotes, widths and odd comments, is not its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import yaml

from etl_cli.runtime.errors import ConfigError

_KEY = "schedule"
_AFTER = ("id", "name")
"""Behind which key a new one is put."""


def with_schedule(text: str, schedule: str | None) -> str:
    """`text` with another schedule. Raises ConfigError where that cannot be done without touching more."""
    pairs = _pairs(text)
    value = "null" if schedule is None else json.dumps(schedule, ensure_ascii=False)
    if _KEY in pairs:
        return _replaced(text, *pairs[_KEY], value)
    return _inserted(text, pairs, value)


def _pairs(text: str) -> dict[str, tuple[yaml.Node, yaml.Node]]:
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"config.yaml is not valid YAML ({' '.join(str(error).split())})", "mend it first") from None
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError("config.yaml holds no keys", "see the README of the pipeline for an example")
    return {key.value: (key, value) for key, value in root.value if isinstance(key, yaml.ScalarNode)}


def _replaced(text: str, key: yaml.Node, node: yaml.Node, value: str) -> str:
    start, end = node.start_mark.index, _end(node)
    between = text[key.end_mark.index : start]
    if start < key.end_mark.index or "&" in between or text[start : start + 1] in ("&", "!"):
        raise ConfigError("config.yaml: `schedule` is an alias or has an anchor or a tag", "edit the file by hand")
    old = text[start:end].rstrip()
    end = start + len(old)
    colon = key.end_mark.index + between.index(":") + 1 if ":" in between else start
    if old == "":  # `schedule:` with nothing
        return f"{text[:colon]} {value}{text[colon:]}"
    if "\n" in text[colon:start]:  # a list on the lines below
        return f"{text[:colon]} {value}{_kept_comment(text[colon:start])}{text[end:]}"
    return text[:start] + value + _aligned(text[end:], len(old) - len(value))


def _kept_comment(between: str) -> str:
    """A comment behind `schedule:` stays; what stands between it and the list goes with the list."""
    first = between.splitlines()[0]
    return first if "#" in first else ""


def _aligned(rest: str, fewer: int) -> str:
    """`rest` of the line, its comment in the column that it had, where there is room."""
    blanks = re.match(r"( +)(?=#)", rest)
    if not blanks:
        return rest
    return " " * max(2, len(blanks[1]) + fewer) + rest[blanks.end() :]


def _end(node: yaml.Node) -> int:
    """Where the value's own text ends: that of a block list is said to end where the next key begins."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style:
        return max((_end(leaf) for leaf in _leaves(node)), default=int(node.end_mark.index))
    return int(node.end_mark.index)


def _leaves(node: yaml.CollectionNode) -> Iterator[yaml.Node]:
    for item in node.value:
        yield from item if isinstance(item, tuple) else (item,)


def _inserted(text: str, pairs: dict[str, tuple[yaml.Node, yaml.Node]], value: str) -> str:
    """A line of its own behind `id` or `name`."""
    known = next((pairs[name] for name in _AFTER if name in pairs), None)
    if known is None or known[0].start_mark.column != 0 or text.lstrip("\ufeff")[:1] == "{":
        raise ConfigError("config.yaml has no `schedule` that could be changed", f"add the line: {_KEY}: {value}")
    end = _end(known[1])
    newline = "\r\n" if "\r\n" in text else "\n"
    stop = text.find("\n", end)
    if stop < 0:
        return f"{text}{newline}{_KEY}: {value}{newline}"
    return f"{text[: stop + 1]}{_KEY}: {value}{newline}{text[stop + 1 :]}"
