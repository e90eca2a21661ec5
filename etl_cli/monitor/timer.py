"""Installs and removes the timer that looks at the pipelines every minute."""

from __future__ import annotations

import grp
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from etl_cli.monitor.unit import SERVICE, TIMER, MonitorFacts, monitor_units
from etl_cli.runtime.config.load import load_alerts
from etl_cli.runtime.errors import EtlError
from etl_cli.systemd.command import SystemdError, with_sudo
from etl_cli.systemd.facts import SERVICE_USER, host_interpreter, probe_interpreter
from etl_cli.systemd.systemctl import Systemctl
from etl_cli.systemd.unit import is_edited

_JOURNAL_GROUP = "systemd-journal"


def install_timer(home: Path, directories: Sequence[Path], *, force: bool) -> list[str]:
    """Put the units in their place, enable and start the timer; what there is to say.

    Raises SystemdError where this is not root, where the user of services could not run it, and where somebody
    edited a unit.
    """
    _only_root("installed")
    files = [directory / name for directory in directories for name in ("config.yaml", ".env")]
    interpreter, unreadable = probe_interpreter(host_interpreter(), "system", files)
    facts = MonitorFacts(
        home.resolve(),
        interpreter.path,
        user=SERVICE_USER,
        journal_group=_journal_group(),
        libraries=interpreter.libraries,
    )
    systemctl = Systemctl("system")
    changed = [_installed(systemctl, unit, text, force=force) for unit, text in monitor_units(facts).items()]
    state = systemctl.show(TIMER)
    if not state.enabled:
        systemctl.enable(TIMER)
    if any(changed) or not state.running:
        systemctl.restart(TIMER)
    did = f"{TIMER} is installed" if any(changed) else f"{TIMER} runs already; nothing was done"
    said = f"{did}: every minute it looks at the pipelines of {home / 'pipelines'}"
    return [
        said,
        "what it found: journalctl -u etl-monitor, /var/log/etl/monitor.log",
        *_notes(directories, unreadable),
    ]


def remove_timer() -> list[str]:
    """Stop and remove both units; the log and the states stay."""
    _only_root("removed")
    systemctl = Systemctl("system")
    if not any(systemctl.installed_text(unit) is not None for unit in (TIMER, SERVICE)):
        return [f"{TIMER} was not installed"]
    with suppress(SystemdError):  # a unit without its file cannot be disabled
        systemctl.disable(TIMER)
    for unit in (TIMER, SERVICE):
        if systemctl.show(unit).active not in ("inactive", "failed"):
            systemctl.stop(unit)
        systemctl.remove(unit)
    return [f"{TIMER} is removed; /var/log/etl/monitor.log stays"]


def _installed(systemctl: Systemctl, unit: str, text: str, *, force: bool) -> bool:
    """Whether the unit was missing or old."""
    present = systemctl.installed_text(unit)
    if present == text:
        return False
    if present is not None and is_edited(present) and not force:
        raise SystemdError(
            f"{systemctl.directory / unit} was edited by hand",
            f"keep your changes in a drop-in (systemctl edit {unit}), then repeat with --force, which writes it anew",
        )
    systemctl.install(unit, text)
    return True


def _notes(directories: Sequence[Path], unreadable: Sequence[Path]) -> list[str]:
    """What will keep the monitor from telling anybody."""
    notes = [
        f"note: user {SERVICE_USER} cannot read {file}, so nobody is told of that pipeline; run: "
        f"chown root:{SERVICE_USER} {file} && chmod 0640 {file}"
        for file in unreadable
    ]
    silent = [directory.name for directory in directories if not _has_urls(directory)]
    if silent:
        notes.append(f"note: alerts.urls is empty, so nobody is told of: {', '.join(silent)}")
    return notes


def _has_urls(directory: Path) -> bool:
    try:
        return bool(load_alerts(directory)[0].urls)
    except EtlError:
        return False


def _journal_group() -> str:
    try:
        return grp.getgrnam(_JOURNAL_GROUP).gr_name
    except KeyError:
        return ""


def _only_root(done: str) -> None:
    if os.geteuid() != 0:
        raise SystemdError(f"a timer of the host is {done} by root only", f"run: {with_sudo()}")
