"""Reads a pipeline directory's config.yaml and .env into a Config.

Every problem is collected before the error is raised, each with the key's path and its line.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from dotenv import dotenv_values
from pydantic import ValidationError

from etl_cli.runtime.config.interpolate import interpolate
from etl_cli.runtime.config.model import Alerts, Config
from etl_cli.runtime.errors import ConfigError
from etl_cli.runtime.redact import secrets_in

Location = tuple[str | int, ...]

_YAML_1_1 = ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:int")
"""Values that YAML 1.1, which PyYAML reads, takes for truth values and for octal, binary and base 60 numbers."""


def load_config(directory: Path, environment: Mapping[str, str] | None = None, *, text: str | None = None) -> Config:
    """The validated configuration of the pipeline in `directory`.

    `environment` is the process's by default; it wins over the directory's .env. `text` stands for the content
    of config.yaml where somebody has read it before.
    Raises ConfigError with one line a problem.
    """
    path = directory / "config.yaml"
    text = _read(path) if text is None else text
    node, data = _parse(path, text)
    lines = dict(_lines_of(node, ()))
    variables = read_environment(directory, environment)
    problems: list[str] = []
    filled = _interpolate_all(data, variables, (), lines, problems)
    if problems:
        raise _error(path, [*problems, *_no_env(directory)])
    try:
        return Config.model_validate(filled).read_from(directory, text)
    except ValidationError as error:
        raise _error(path, _described(error.errors(), lines)) from None


def load_alerts(directory: Path, environment: Mapping[str, str] | None = None) -> tuple[Alerts, set[str]]:
    """The section `alerts` alone, whatever is wrong with the rest, and the secrets in it.

    A configuration that became wrong is a reason to tell somebody. Raises ConfigError where this section is wrong,
    too, and where the file cannot be read or is no YAML.
    """
    path = directory / "config.yaml"
    node, data = _parse(path, _read(path))
    lines = dict(_lines_of(node, ()))
    variables = read_environment(directory, environment)
    problems: list[str] = []
    filled = _interpolate_all(data.get("alerts") or {}, variables, ("alerts",), lines, problems)
    if problems:
        raise _error(path, [*problems, *_no_env(directory)])
    try:
        alerts = Alerts.model_validate(filled)
    except ValidationError as error:
        under = [{**item, "loc": ("alerts", *item["loc"])} for item in error.errors()]
        raise _error(path, _described(under, lines)) from None
    return alerts, secrets_in(alerts) | _passwords_in(variables)


def passwords_of(directory: Path) -> set[str]:
    """What .env and the environment call a password, for texts about a configuration that is wrong; as far as known."""
    try:
        return _passwords_in(read_environment(directory))
    except ConfigError:
        return set()


def _passwords_in(variables: Mapping[str, str]) -> set[str]:
    return {value for name, value in variables.items() if value and "PASSWORD" in name.upper()}


def _no_env(directory: Path) -> list[str]:
    """A line for whoever has not made the file yet."""
    there = (directory / ".env").exists() or not (directory / ".env.template").exists()
    return [] if there else [f"{directory / '.env'} is missing: copy .env.template to .env, and fill it in"]


def read_environment(directory: Path, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables that config.yaml may refer to: .env beside it, overruled by the process's own.

    Under systemd the secrets come as the credential `env` ($CREDENTIALS_DIRECTORY) instead of .env.
    """
    own = dict(os.environ if environment is None else environment)
    credentials = own.get("CREDENTIALS_DIRECTORY")
    file = directory / ".env"
    if credentials and (Path(credentials) / "env").is_file():
        file = Path(credentials) / "env"
    try:
        from_file = dotenv_values(file, interpolate=False) if file.is_file() else {}
    except OSError as error:
        raise ConfigError(f"{file} cannot be read ({error.strerror})", "give this user the right to read it") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8", "save it as UTF-8") from error
    return {**{key: value or "" for key, value in from_file.items()}, **own}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist", "make the pipeline with: etl-cli generate --name NAME") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read ({error})", "it must be a readable UTF-8 file") from error


def _parse(path: Path, text: str) -> tuple[yaml.Node, dict[str, Any]]:
    try:
        node = yaml.compose(text, Loader=_Loader)
        if node is not None:
            _refuse_repeated_keys(node)
        data = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        if "'\\t'" in str(error.problem):
            raise ConfigError(f"{path}:{line}: a tab, which YAML does not take", "indent with spaces") from None
        raise ConfigError(f"{path}:{line}: not valid YAML ({error.problem})", "correct the line") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML ({error})", "mend the file") from None
    if not isinstance(data, dict) or node is None:
        raise ConfigError(f"{path} holds no keys", "see the README of the pipeline for an example")
    return node, data


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # ten times as fast where it is there
    """Reads plain values as YAML 1.2 does: `on` and `NO` are texts, 01234567 is a decimal number."""

    yaml_implicit_resolvers = {
        letter: [(tag, pattern) for tag, pattern in resolvers if tag not in _YAML_1_1]
        for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _decimal(loader: yaml.SafeLoader, node: yaml.Node) -> int:
    assert isinstance(node, yaml.ScalarNode)
    return int(loader.construct_scalar(node), 10)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?[0-9]+$"), list("-+0123456789"))
_Loader.add_constructor("tag:yaml.org,2002:int", _decimal)


def _refuse_repeated_keys(node: yaml.Node) -> None:
    """PyYAML lets the last one win without a word."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a plain text", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} stands twice", key.start_mark)
            seen.add(key.value)
            _refuse_repeated_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_repeated_keys(item)


def _lines_of(node: yaml.Node, at: Location) -> Iterator[tuple[Location, int]]:
    """The line (1-based) of every key and list item."""
    yield at, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _lines_of(value, (*at, key.value))
            yield (*at, key.value), key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _lines_of(value, (*at, index))


def _interpolate_all(
    data: Any, variables: Mapping[str, str], at: Location, lines: Mapping[Location, int], problems: list[str]
) -> Any:
    if isinstance(data, dict):
        return {k: _interpolate_all(v, variables, (*at, str(k)), lines, problems) for k, v in data.items()}
    if isinstance(data, list):
        return [_interpolate_all(v, variables, (*at, i), lines, problems) for i, v in enumerate(data)]
    if not isinstance(data, str):
        return data
    try:
        return interpolate(data, variables)
    except ValueError as error:
        problems.append(f"{_line(at, lines)}{_dotted(at)}: {error}")
        return data


def _described(items: list[Any], lines: Mapping[Location, int]) -> list[str]:
    """A line for each error, in the file's order.

    A value that may be of two types fails once for each: where one of them names a key further in,
    the other says nothing more.
    """
    keys = [_keys_only(item["loc"], lines) for item in items]
    told = [
        (item, at)
        for item, at in zip(items, keys, strict=True)
        if not any(other[: len(at)] == at and len(other) > len(at) for other in keys)
    ]
    told.sort(key=lambda pair: _line_number(pair[1], lines))
    return list(dict.fromkeys(_describe(item, at, lines) for item, at in told))


def _describe(item: Any, at: Location, lines: Mapping[Location, int]) -> str:
    """One pydantic error as `line: key: what is wrong`; the input is left out, it may be a secret."""
    where = f"{_line(at, lines)}{_dotted(at)}"
    if item["type"] == "extra_forbidden":
        return f"{where}: unknown key{_suggestion(at)}"
    if item["type"] == "missing":
        return f"{where}: is missing; add it"
    return f"{where}: {item['msg'].removeprefix('Value error, ')}"


def _keys_only(location: Location, lines: Mapping[Location, int]) -> Location:
    """Pydantic names a union's branch in the location (`str`, `list[...]`): only the file's keys count."""
    return tuple(part for i, part in enumerate(location) if i == 0 or not _is_branch(location, i, lines))


def _is_branch(location: Location, index: int, lines: Mapping[Location, int]) -> bool:
    part = location[index]
    return (
        isinstance(part, str) and location[: index + 1] not in lines and ("[" in part or part in ("str", "bool", "int"))
    )


def _suggestion(at: Location) -> str:
    from etl_cli.runtime.config.keys import keys_of

    known = keys_of(at[:-1])
    close = difflib.get_close_matches(str(at[-1]), known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; known here are {', '.join(known)}" if known else ""


def _line(at: Location, lines: Mapping[Location, int]) -> str:
    number = _line_number(at, lines)
    return f"line {number}: " if number else ""


def _line_number(at: Location, lines: Mapping[Location, int]) -> int:
    """The line of a key, or of the nearest one around it; 0 for the whole file."""
    return next((lines[at[:length]] for length in range(len(at), 0, -1) if at[:length] in lines), 0)


def _dotted(at: Location) -> str:
    text = ""
    for part in at:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".") or "config.yaml"


def _error(path: Path, problems: list[str]) -> ConfigError:
    if len(problems) == 1:
        return ConfigError(f"{path}: {problems[0]}")
    return ConfigError(f"{path}: {len(problems)} problems\n" + "\n".join(f"  {problem}" for problem in problems))
