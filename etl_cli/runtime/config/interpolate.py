"""`${VAR}`, `${VAR:-default}`, `${VAR:?message}` and `$$` in the values of config.yaml.

The forms and their meaning are those of the shell and of Compose files: `:-` stands in for a
variable that is unset or empty, `:?` refuses with its message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_REFERENCE = re.compile(
    r"\$(?:(?P<escaped>\$)|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::(?P<kind>[-?])(?P<rest>[^}]*))?\}|(?P<invalid>\{))"
)


class UnsetVariableError(ValueError):
    """A value refers to a variable that is not set."""


def interpolate(text: str, environment: Mapping[str, str]) -> str:
    """`text` with every reference replaced.

    Raises UnsetVariableError for a variable without value and default, ValueError for a `${` that
    is not one of the known forms.
    """

    def value_of(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "$"
        if match["invalid"]:
            raise ValueError("holds '${' that is not a variable; write $${ for a plain one")
        return _resolve(match["name"], match["kind"], match["rest"] or "", environment)

    return _REFERENCE.sub(value_of, text)


def _resolve(name: str, kind: str | None, rest: str, environment: Mapping[str, str]) -> str:
    value = environment.get(name)
    if kind == "-":
        return value if value else rest
    if kind == "?" and not value:
        raise UnsetVariableError(f"variable {name} is not set: {rest or 'set it in .env'}")
    if value is None:
        raise UnsetVariableError(f"variable {name} is not set; set it in .env or in the environment")
    return value
