"""The one caller of systemctl (and of systemd-analyze), for the host's systemd and for a user's own."""

from __future__ import annotations

import os
import secrets
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from etl_cli.runtime.errors import UsageError
from etl_cli.systemd.command import TIMEOUT_S, Answer, SystemdError, ask, no_systemd, with_sudo
from etl_cli.systemd.unit import Scope


@dataclass(frozen=True)
class UnitState:
    """What systemd knows of a unit; `active` is active, activating, deactivating, inactive, failed or reloading."""

    unit: str
    loaded: bool
    active: str
    sub: str
    enabled: bool
    result: str
    status_text: str
    pid: int | None
    exit_status: int
    restarts: int
    started_at: datetime | None
    memory_bytes: int | None
    cpu_s: float | None
    fragment: Path | None
    drop_ins: tuple[Path, ...]
    needs_reload: bool
    queued: bool = False
    """Whether systemd is about to start or to stop it."""

    @property
    def running(self) -> bool:
        """Whether its process is up."""
        return self.active in ("active", "reloading")


PROPERTIES = (
    "Id,LoadState,ActiveState,SubState,UnitFileState,Result,StatusText,MainPID,ExecMainStatus,NRestarts,"
    "ExecMainStartTimestamp,MemoryCurrent,CPUUsageNSec,FragmentPath,DropInPaths,NeedDaemonReload,Job"
)


class Systemctl:
    """Units of one scope."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self._base = ["systemctl", *(["--user"] if scope == "user" else []), "--no-ask-password", "--no-pager"]

    @property
    def directory(self) -> Path:
        """Where units are installed."""
        if self.scope == "system":
            return Path("/etc/systemd/system")
        configuration = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
        return Path(configuration) / "systemd" / "user"

    def installed_text(self, unit: str) -> str | None:
        """The unit's file as it is; None where there is none."""
        try:
            return (self.directory / unit).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._refused(unit, f"{error.filename}: {error.strerror}") from error

    def is_wanted(self, unit: str) -> bool:
        """Whether it is to start at boot, told by the link that `enable` makes: it outlives the unit's file."""
        return any(link.is_symlink() for link in self.directory.glob(f"*.wants/{unit}"))

    def install(self, unit: str, text: str) -> None:
        """Check the unit, put it in its place in one step, and make systemd read it."""
        self.verify(unit, text)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            _replace(self.directory / unit, text)
        except PermissionError as error:
            raise self._refused(unit, f"{self.directory} is root's") from error
        except OSError as error:
            raise SystemdError(f"{error.filename}: {error.strerror}", "make room for the unit and repeat") from error
        self.daemon_reload()

    def verify(self, unit: str, text: str) -> None:
        """Let systemd-analyze read the unit. Raises SystemdError with what it dislikes."""
        with tempfile.TemporaryDirectory(prefix="etl-unit-") as directory:
            file = Path(directory) / unit
            file.write_text(text, encoding="utf-8")
            scope = ["--user"] if self.scope == "user" else []
            answer = ask(["systemd-analyze", *scope, "verify", "--man=no", "--recursive-errors=no", str(file)])
        lines = [line.replace(f"{file}:", "line ") for line in answer.err.splitlines() if unit in line]
        if lines:
            raise SystemdError(f"{unit} would not work: {'; '.join(lines)}", "mend what it names, then repeat")

    def daemon_reload(self) -> None:
        """Make systemd read its units again."""
        self._do("daemon-reload", "")

    def enable(self, unit: str) -> None:
        """Start it at boot (of a user: at login, or at boot with linger)."""
        self._do("enable", unit)

    def disable(self, unit: str) -> None:
        """Not at boot any more."""
        self._do("disable", unit)

    def start(self, unit: str, timeout_s: float = TIMEOUT_S) -> None:
        """Start it and wait until it says that it is ready."""
        with suppress(SystemdError):  # what it remembers of failures would count against this start
            self._do("reset-failed", unit)
        self._do("start", unit, timeout_s)

    def stop(self, unit: str, timeout_s: float = TIMEOUT_S) -> None:
        """Stop it and wait until it has."""
        self._do("stop", unit, timeout_s)

    def restart(self, unit: str, timeout_s: float = TIMEOUT_S) -> None:
        """Stop and start it."""
        with suppress(SystemdError):
            self._do("reset-failed", unit)
        self._do("restart", unit, timeout_s)

    def reload(self, unit: str) -> None:
        """Have it read its configuration again (SIGHUP)."""
        self._do("reload", unit)

    def clean(self, unit: str) -> None:
        """Remove its state, logs and runtime directories; it must be stopped and still installed."""
        self._do("clean --what=state --what=logs --what=runtime", unit)

    def remove(self, unit: str) -> None:
        """Remove the unit's file and forget the unit; it must be stopped and disabled."""
        try:
            (self.directory / unit).unlink(missing_ok=True)
        except OSError as error:
            raise self._refused(unit, f"{error.filename}: {error.strerror}") from error
        self.daemon_reload()
        with suppress(SystemdError):
            self._do("reset-failed", unit)

    def is_active(self, unit: str) -> bool:
        """Whether its process is up."""
        return self.show(unit).running

    def show(self, unit: str) -> UnitState:
        """What systemd knows of the unit."""
        return self.show_all([unit])[unit]

    def show_all(self, units: Sequence[str]) -> dict[str, UnitState]:
        """The same of many, by one call."""
        if not units:
            return {}
        answer = ask([*self._base, "show", "--timestamp=us+utc", f"--property={PROPERTIES}", "--", *units])
        if answer.code != 0:
            raise self._translated("show", ", ".join(units), answer)
        return {state.unit: state for state in map(parse_state, blocks(answer.out))}

    def _do(self, verb: str, unit: str, timeout_s: float = TIMEOUT_S) -> None:
        answer = ask([*self._base, *verb.split(), *(["--", unit] if unit else [])], timeout_s)
        if answer.code != 0:
            raise self._translated(verb.split()[0], unit, answer)

    def _translated(self, verb: str, unit: str, answer: Answer) -> SystemdError:
        return translate(self.scope, verb, unit, answer)

    def _refused(self, unit: str, why: str) -> SystemdError:
        return refused(self.scope, unit, why)


def blocks(text: str) -> list[dict[str, str]]:
    """The properties of each unit in the output of `systemctl show`."""
    return [dict(_pairs(block)) for block in text.strip().split("\n\n") if block.strip()]


def _pairs(block: str) -> list[tuple[str, str]]:
    pairs = (line.partition("=") for line in block.splitlines() if "=" in line)
    return [(name, value) for name, _, value in pairs]


def parse_state(properties: Mapping[str, str]) -> UnitState:
    """A unit's properties as values; what systemd does not know is None."""
    cpu_ns = _number(properties.get("CPUUsageNSec"))
    fragment = properties.get("FragmentPath", "")
    return UnitState(
        unit=properties.get("Id", ""),
        loaded=properties.get("LoadState") == "loaded",
        active=properties.get("ActiveState", "inactive"),
        sub=properties.get("SubState", ""),
        enabled=properties.get("UnitFileState") in ("enabled", "enabled-runtime"),
        result=properties.get("Result", ""),
        status_text=properties.get("StatusText", ""),
        pid=_number(properties.get("MainPID")) or None,
        exit_status=_number(properties.get("ExecMainStatus")) or 0,
        restarts=_number(properties.get("NRestarts")) or 0,
        started_at=_instant(properties.get("ExecMainStartTimestamp", "")),
        memory_bytes=_number(properties.get("MemoryCurrent")),
        cpu_s=None if cpu_ns is None else cpu_ns / 1e9,
        fragment=Path(fragment) if fragment else None,
        drop_ins=tuple(Path(path) for path in properties.get("DropInPaths", "").split()),
        needs_reload=properties.get("NeedDaemonReload") == "yes",
        queued=bool(_number(properties.get("Job"))),
    )


def _number(text: str | None) -> int | None:
    """A count; `[not set]`, and the largest of 64 bits, which says the same, are None."""
    return int(text) if text and text.isdigit() and int(text) < 2**64 - 1 else None


def _instant(text: str) -> datetime | None:
    """To the microsecond: a file that was written in the second of a start must not seem newer than that."""
    with suppress(ValueError):
        return datetime.strptime(text, "%a %Y-%m-%d %H:%M:%S.%f UTC").replace(tzinfo=UTC)
    return None


def translate(scope: Scope, verb: str, unit: str, answer: Answer) -> SystemdError:
    """What systemd answered as one line: what could not be done, and what to do."""
    said = answer.said
    if "not been booted with systemd" in said or "Host is down" in said:
        return no_systemd("its first process is another")
    if "Failed to connect to bus" in said or "Failed to connect to user scope bus" in said:
        return _no_bus(scope, said)
    if any(text in said for text in ("nteractive authentication required", "Access denied", "Permission denied")):
        return refused(scope, unit, "systemd obeys root only")
    if any(text in said for text in ("could not be found", "not loaded", "does not exist", "not found")):
        return SystemdError(
            f"{unit} is not installed", f"install and start it with: manage-pipeline start {_name(unit)}"
        )
    if "repeated too quickly" in said or "start-limit-hit" in said:
        return SystemdError(
            f"{unit} failed too often in a short time, so systemd has given up",
            f"see why with: manage-pipeline logs {_name(unit)}",
        )
    if said.startswith("Job for"):
        return SystemdError(
            f"{unit} could not {verb}: {_reason(said)}", f"see why with: manage-pipeline logs {_name(unit)} -n 20"
        )
    return SystemdError(f"systemctl {verb} {unit}: {said or f'exit code {answer.code}'}", "mend that and repeat")


def refused(scope: Scope, unit: str, why: str) -> SystemdError:
    """This user may not; who may, and what needs nobody else."""
    if scope == "user":
        return SystemdError(f"{unit}: {why}", "make your systemd directory writable for yourself")
    return SystemdError(
        f"{unit or 'systemd'}: {why}", f"run: {with_sudo()} (or add --user for a service of your own, without root)"
    )


def _no_bus(scope: Scope, said: str) -> SystemdError:
    if scope == "system":
        return no_systemd(said.partition("bus: ")[2] or "no bus")
    return SystemdError(
        "no systemd of this user runs: there is no login session",
        "log in as this user (ssh, machinectl shell; not su or sudo), or: sudo loginctl enable-linger "
        + shlex.quote(_user()),
    )


def _reason(said: str) -> str:
    if "timeout was exceeded" in said:
        return "it did not say that it is ready in time"
    if "failed because" not in said:
        return said.partition(" See ")[0]
    return said.partition("failed because ")[2].partition(". ")[0].rstrip(".")


def lingers(user: str) -> bool:
    """Whether a user's services run while nobody is logged in."""
    return (Path("/var/lib/systemd/linger") / user).exists()


def current_user() -> str:
    """The name of who runs this."""
    return _user()


def _user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError as error:
        raise UsageError(f"user {os.geteuid()} has no name here", "run it as a user of this host") from error


def _name(unit: str) -> str:
    return unit.removeprefix("etl-").removesuffix(".service")


def _replace(path: Path, text: str) -> None:
    """Write `path` in one step, on disk, readable by all: a unit holds no secret."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "w") as stream:
            os.fchmod(stream.fileno(), 0o644)
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
