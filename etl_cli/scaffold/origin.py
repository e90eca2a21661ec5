"""Where this package's own material lies: in a checkout beside it, installed inside it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import etl_cli
from etl_cli.runtime.errors import EtlError


@dataclass(frozen=True)
class Origin:
    """The directories that generating reads; `checkout` is None when the package is installed."""

    package: Path
    templates: Path
    constraints: Path
    checkout: Path | None


def find_origin(package: Path | None = None) -> Origin:
    """The origin of `package`, the directory of etl_cli itself by default.

    A checkout keeps templates/ and constraints.txt at its root; pyproject.toml moves both into the
    package when a wheel is built.
    """
    package = package or Path(etl_cli.__file__).parent
    checkout = package.parent
    if (checkout / "pyproject.toml").is_file() and (checkout / "templates").is_dir():
        return Origin(package, checkout / "templates", checkout / "constraints.txt", checkout)
    templates = package / "templates"
    if not templates.is_dir():
        raise EtlError(f"{templates} is missing, so this etl-cli is not installed whole", "install etl-cli again")
    return Origin(package, templates, templates / "constraints.txt", None)


def runtime_pins(constraints: str) -> tuple[str, ...]:
    """The `name==version` lines of the section `# [runtime]` of constraints.txt, in its order."""
    section = ""
    pins = []
    for line in constraints.splitlines():
        if mark := re.match(r"# \[(\w+)\]", line):
            section = mark[1]
        elif section == "runtime" and "==" in line:
            pins.append(line.strip())
    return tuple(pins)
