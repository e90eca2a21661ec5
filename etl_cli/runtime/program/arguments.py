"""What a function of etl.py is given, by the names of its parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from etl_cli.runtime.errors import ConfigError


def parameters_of(function: Callable[..., Any] | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names that a function takes, and those of them that may be missing. Raises ConfigError."""
    if function is None:
        return (), ()
    takes, optional = [], []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise ConfigError(
                f"step {getattr(function, '__name__', 'step')}: *{name} is not given anything",
                "name what it takes: run, other steps, parameters of the run",
            )
        takes.append(name)
        if parameter.default is not parameter.empty:
            optional.append(name)
    return tuple(takes), tuple(optional)


def arguments_of(function: Callable[..., Any], known: Mapping[str, Any], label: str) -> dict[str, Any]:
    """Those of `known` that the function takes. Raises ConfigError for one that nothing gives."""
    takes, optional = parameters_of(function)
    missing = [name for name in takes if name not in known and name not in optional]
    if missing:
        raise ConfigError(
            f"{label} takes {', '.join(missing)}, for which this run has no value",
            "a step that was not run, or was skipped, gives none: give the parameter a default",
        )
    return {name: known[name] for name in takes if name in known}
