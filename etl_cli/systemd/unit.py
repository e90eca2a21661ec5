"""The text of a pipeline's unit, from facts; pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import etl_cli
from etl_cli.runtime.config.units import format_duration
from etl_cli.runtime.errors import EtlError
from etl_cli.systemd import escape

if TYPE_CHECKING:
    from jinja2 import Environment

Scope = Literal["system", "user"]
"""Of the host's systemd (needs root), or of a user's own."""

WATCHDOG_S = 60.0
STOP_MARGIN_S = 15.0
"""What the supervisor may take beyond `stop_grace`: to end its child, and to record that."""

_HEADER = "# Written by manage-pipeline; change it with a drop-in (systemctl edit). sha256:"
_HOMES = ("/home", "/root", "/run/user")
"""What ProtectHome= hides."""


@dataclass(frozen=True)
class UnitFacts:
    """All that a unit's text depends on.

    `secrets` is the file that becomes the credential `env`, None where there is none. `libraries` are the
    directories that the interpreter reads; `log_directory` is what config.yaml says instead of /var/log/etl/NAME.
    """

    name: str
    directory: Path
    interpreter: Path
    scope: Scope = "system"
    user: str = "etl"
    stop_grace_s: float = 20.0
    secrets: Path | None = None
    libraries: tuple[Path, ...] = ()
    log_directory: Path | None = None
    memory_max: str = "75%"
    tasks_max: int = 512
    watchdog_s: float = WATCHDOG_S


def unit_name(pipeline: str) -> str:
    """`etl-orders.service`."""
    return f"etl-{pipeline}.service"


def unit_text(facts: UnitFacts) -> str:
    """The unit; its first line holds the digest of the rest. Raises UsageError for a path that cannot be."""
    return render_unit(
        "pipeline.service.j2",
        name=facts.name,
        unit=unit_name(facts.name).removesuffix(".service"),
        system=facts.scope == "system",
        user=facts.user,
        program=escape.program(str(facts.interpreter)),
        directory=escape.word(str(facts.directory)),
        working_directory=escape.value(str(facts.directory)),
        secrets=escape.value(str(facts.secrets)) if facts.secrets else "",
        stop_grace=format_duration(facts.stop_grace_s),
        stop_timeout=_seconds(facts.stop_grace_s + STOP_MARGIN_S),
        watchdog=_seconds(facts.watchdog_s),
        memory_max=facts.memory_max,
        tasks_max=facts.tasks_max,
        in_homes=[escape.bind(path) for path in in_homes((facts.directory, *facts.libraries))],
        writable=[escape.word(f"-{facts.log_directory}")] if facts.log_directory else [],
        wanted_by="multi-user.target" if facts.scope == "system" else "default.target",
    )


def render_unit(template: str, **facts: object) -> str:
    """The text of a unit from templates/systemd/, below a line that tells later whether it was edited by hand."""
    body = _environment().get_template(template).render(facts)
    return f"{_HEADER} {_digest(body)}\n{body}"


def is_edited(text: str) -> bool:
    """Whether a unit is not as it was written here: changed by hand since, or somebody else's."""
    first, _, body = text.partition("\n")
    return first != f"{_HEADER} {_digest(body)}"


def in_homes(paths: Iterable[Path]) -> list[str]:
    """Those that lie in a home directory, without those that lie within another one of them."""
    homes = tuple(f"{home}/" for home in _HOMES)
    inside = sorted({str(path) for path in paths if str(path).startswith(homes)})
    return [path for path in inside if not any(path.startswith(f"{other}/") for other in inside)]


def _seconds(duration_s: float) -> str:
    """As systemd reads it; its `m` and `w` are not everywhere what they are in config.yaml."""
    return f"{duration_s:.3f}".rstrip("0").rstrip(".") + "s"


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:16]


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(_templates(), encoding="utf-8"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # nothing here is HTML; every path comes escaped
    )


def _templates() -> Path:
    """A checkout keeps templates/ at its root, a wheel inside the package."""
    package = Path(etl_cli.__file__).parent
    for directory in (package.parent / "templates", package / "templates"):
        if (directory / "systemd").is_dir():
            return directory / "systemd"
    raise EtlError(f"{package} has no templates of units, so it is not installed whole", "install etl-cli again")
