"""A pipeline as a service: install, start, stop, reload, delete; what each found and did."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from etl_cli.runtime.config.load import load_config
from etl_cli.runtime.config.model import Config
from etl_cli.runtime.errors import EtlError
from etl_cli.runtime.locate import vendored_version
from etl_cli.systemd import escape, journal
from etl_cli.systemd.command import TIMEOUT_S, SystemdError
from etl_cli.systemd.config_file import digest_of
from etl_cli.systemd.facts import facts_of, find_interpreter, probe
from etl_cli.systemd.systemctl import Systemctl, UnitState, current_user, lingers
from etl_cli.systemd.unit import STOP_MARGIN_S, Scope, is_edited, unit_name, unit_text

RELOAD_PATIENCE_S = 10.0
_EXIT_STATUS = {
    2: "the configuration is wrong",
    200: "its directory cannot be entered",
    203: "its interpreter cannot be executed",
    217: "its user does not exist",
    226: "a directory that it needs cannot be shown to it",
    228: "its system call filter is not supported here",
    243: "its secrets cannot be read: is .env there?",
}
"""Exit codes of `serve`, and of systemd itself: systemd.exec(5), "Process exit codes"."""


@dataclass(frozen=True)
class Service:
    """The service of the pipeline in `directory`."""

    name: str
    directory: Path
    scope: Scope

    @property
    def unit(self) -> str:
        """`etl-orders.service`."""
        return unit_name(self.name)

    @property
    def systemctl(self) -> Systemctl:
        """The systemd that it belongs to."""
        return Systemctl(self.scope)

    def state(self) -> UnitState:
        """What systemd knows of it."""
        return self.systemctl.show(self.unit)


def service_of(directory: Path, name: str, *, user: bool) -> Service:
    """The service of a pipeline: of the user where that is asked for, or is the only one that is installed."""
    system, own = Systemctl("system"), Systemctl("user")
    unit = unit_name(name)
    is_own = user or (not (system.directory / unit).exists() and (own.directory / unit).exists())
    return Service(name, directory, "user" if is_own else "system")


def named_service(directory: Path, *, user: bool) -> Service:
    """The same, by the name that config.yaml gives; where that is broken, by the directory's."""
    try:
        name = load_config(directory).name
    except EtlError:
        name = directory.name
    return service_of(directory, name, user=user)


def planned_unit(service: Service, config: Config) -> str:
    """The unit as `start` would install it, as far as it can be known without starting the interpreter."""
    return unit_text(facts_of(service.directory, config, service.scope))


def install(service: Service, config: Config, *, force: bool) -> bool:
    """Put the unit in its place where it is missing or old; whether that was so.

    Raises SystemdError where somebody edited it, where another directory has the name, and where the
    service's user could not run the pipeline.
    """
    interpreter = probe(service.directory, service.scope)
    text = unit_text(facts_of(service.directory, config, service.scope, interpreter.libraries))
    present = service.systemctl.installed_text(service.unit)
    if present == text:
        return False
    if present is not None and not force:
        _refuse_foreign(service, present)
    service.systemctl.install(service.unit, text)
    return True


def start(service: Service, *, force: bool = False) -> list[str]:
    """Install, enable and start it; what there is to say. Raises SystemdError, ConfigError."""
    config = load_config(service.directory)
    before = service.state()  # first of all: is there a systemd?
    changed = install(service, config, force=force)
    before = service.state() if changed else before
    if not before.enabled:
        service.systemctl.enable(service.unit)
    notes = list(_notes(service))
    if before.running:
        said = "its unit has changed: `restart` takes that" if changed else "nothing was done"
        return [f"{service.name} runs already; {said}", *notes]
    _told(service, "start", config)
    return [f"{service.name} is started, and will be at boot", *notes]


def stop(service: Service, *, disable: bool) -> list[str]:
    """Stop it until the next boot, or for good."""
    state = _installed(service)
    if state.active not in ("inactive", "failed"):
        service.systemctl.stop(service.unit, _patience(service))
    if disable:
        service.systemctl.disable(service.unit)
        return [f"{service.name} is stopped, and stays so at boot"]
    later = "and starts again at the next boot (--disable keeps it down)" if state.enabled else "and stays so at boot"
    return [f"{service.name} is stopped, {later}"]


def restart(service: Service, *, force: bool = False) -> list[str]:
    """Stop and start it, with the unit, the code, config.yaml and .env as they are now."""
    config = load_config(service.directory)
    _installed(service)
    install(service, config, force=force)
    _told(service, "restart", config)
    return [f"{service.name} is restarted", *_notes(service)]


def reload(service: Service, patience_s: float = RELOAD_PATIENCE_S) -> str:
    """Have the service read config.yaml again; whether it took it, in a line."""
    try:
        running = service.state().running
    except SystemdError as error:
        return f"the service was not asked: {error.message}"
    if not running:
        return "the service does not run; the change holds from its next start"
    service.systemctl.reload(service.unit)
    return _taken(service, digest_of(service.directory), patience_s)


def delete(service: Service, *, purge: bool) -> list[str]:
    """Remove the service; with `purge` the directory and what the service wrote on this host; nothing in the sink."""
    notes = []
    state = service.state()
    if state.loaded or service.systemctl.installed_text(service.unit) is not None:
        if state.active not in ("inactive", "failed"):
            service.systemctl.stop(service.unit, _patience(service))
        service.systemctl.disable(service.unit)
        if purge:
            service.systemctl.clean(service.unit)
        service.systemctl.remove(service.unit)
        notes.append(f"the service {service.unit} is removed")
    else:
        notes.append(f"{service.unit} was not installed")
    if purge:
        _remove_directory(service.directory)
        notes.append(f"{service.directory} is removed; the rows and the ledger in the sink stay")
    else:
        notes.append(f"{service.directory}, its logs and its data stay; --purge removes directory and logs")
    return notes


def changed_since_start(service: Service, state: UnitState) -> list[str]:
    """What the running service does not know yet, and only a restart brings to it."""
    if not state.running or state.started_at is None:
        return []
    secrets = service.directory / ".env"
    try:
        changed = datetime.fromtimestamp(secrets.stat().st_mtime, UTC)
    except OSError:
        return []
    return [".env has changed since the service started: `restart` takes it"] if changed > state.started_at else []


def known_config(service: Service) -> dict[str, Any] | None:
    """What the running service says of its config.yaml: {taken, refused, problem}; None where it says nothing."""
    base = Path("/run") if service.scope == "system" else Path(os.environ.get("XDG_RUNTIME_DIR", "/nonexistent"))
    try:
        said = json.loads((base / "etl" / service.name / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return said if isinstance(said, dict) else None


def _taken(service: Service, digest: str, patience_s: float) -> str:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        said = known_config(service) or {}
        if said.get("taken") == digest:
            return "the service has taken the change"
        if said.get("refused") == digest:
            return f"the service has refused the change and goes on with the old one: {said.get('problem')}"
        time.sleep(0.1)
    return f"the service has not said whether it took the change: see `manage-pipeline logs {service.name}`"


def _installed(service: Service) -> UnitState:
    state = service.state()
    if not state.loaded:
        raise SystemdError(
            f"{service.name} is not installed as a service",
            f"install and start it: manage-pipeline start {service.name}",
        )
    return state


def _refuse_foreign(service: Service, present: str) -> None:
    mine = f"WorkingDirectory={escape.value(str(service.directory))}"
    theirs = next((line for line in present.splitlines() if line.startswith("WorkingDirectory=")), mine)
    if theirs != mine:
        raise SystemdError(
            f"{service.unit} is the service of {theirs.removeprefix('WorkingDirectory=')}",
            "is this directory a copy? give the pipeline a name of its own, or take the service over with --force",
        )
    if is_edited(present):
        raise SystemdError(
            f"{service.systemctl.directory / service.unit} was edited by hand",
            f"keep your changes in a drop-in (systemctl edit {service.unit}), then repeat with --force, "
            "which writes it anew",
        )


def _told(service: Service, verb: str, config: Config) -> None:
    """Start or restart; a failure is told with what the service said last."""
    patience_s = config.stop_grace + STOP_MARGIN_S + TIMEOUT_S
    try:
        getattr(service.systemctl, verb)(service.unit, patience_s)
    except SystemdError as error:
        raise SystemdError(f"{error.message}{_last_words(service)}", error.remedy) from error


def _last_words(service: Service) -> str:
    try:
        state = service.state()
        known = _EXIT_STATUS.get(state.exit_status, "")
        said = [
            entry.text
            for entry in journal.entries(service.unit, service.scope, lines=20, since="-5min", level="error")
            if not entry.text.startswith("Failed to start")
        ]
    except EtlError:
        return ""
    words = [part for part in (known, state.status_text, said[-1] if said else "") if part]
    return f" ({'; '.join(dict.fromkeys(words))})" if words else ""


def _notes(service: Service) -> Iterator[str]:
    if service.scope == "user" and not lingers(user := current_user()):
        yield (
            f"linger is off: it ends when {user} logs out, and does not start at boot; run: "
            f"sudo loginctl enable-linger {user}"
        )
    carried = vendored_version(service.directory)
    version = probe(service.directory, service.scope).version if carried else None
    if carried != version:
        yield (
            f"{find_interpreter(service.directory)} has etl-cli {version}, the pipeline carries {carried} in vendor/: "
            "install that one, or generate it again"
        )


def _patience(service: Service) -> float:
    """As long as the unit itself may take to stop."""
    try:
        return load_config(service.directory).stop_grace + STOP_MARGIN_S + 30
    except EtlError:  # it must be possible to stop what has a broken configuration
        return TIMEOUT_S


def _remove_directory(directory: Path) -> None:
    try:
        shutil.rmtree(directory)
    except OSError as error:
        raise EtlError(f"{directory} cannot be removed ({error.strerror})", "remove it as its owner") from error
