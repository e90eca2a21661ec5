"""What a pipeline's unit must say on this host: which interpreter, which user, and whether they fit together."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etl_cli.runtime.config.model import Config
from etl_cli.systemd.command import SystemdError, with_sudo
from etl_cli.systemd.unit import Scope, UnitFacts

SERVICE_USER = "etl"
HOST_INTERPRETER = Path("/opt/etl/venv/bin/python")
_PROBE = (
    "import json, os, sys, etl_cli; print(json.dumps([etl_cli.__version__, sys.prefix, sys.base_prefix,"
    " os.path.dirname(os.path.dirname(etl_cli.__file__)), *[os.access(file, os.R_OK) for file in sys.argv[1:]]]))"
)


@dataclass(frozen=True)
class Interpreter:
    """An interpreter as the service's user finds it."""

    path: Path
    version: str
    libraries: tuple[Path, ...]


def find_interpreter(directory: Path) -> Path:
    """The directory's own .venv where there is one, else the host's."""
    own = directory / ".venv" / "bin" / "python"
    return own if own.is_file() else host_interpreter()


def host_interpreter() -> Path:
    """That of `setup-dev.sh --prod` where there is one, else the one that runs this."""
    return HOST_INTERPRETER if HOST_INTERPRETER.is_file() else Path(sys.executable)


def facts_of(directory: Path, config: Config, scope: Scope, libraries: tuple[Path, ...] = ()) -> UnitFacts:
    """The facts for the unit of the pipeline in `directory`."""
    secrets = directory / ".env"
    own_logs = config.logging.directory
    return UnitFacts(
        name=config.name,
        directory=directory,
        interpreter=find_interpreter(directory),
        scope=scope,
        user=SERVICE_USER,
        stop_grace_s=config.stop_grace,
        secrets=secrets if secrets.is_file() else None,
        libraries=libraries,
        log_directory=Path(own_logs) if own_logs and Path(own_logs) != Path("/var/log/etl") / config.name else None,
    )


def probe(directory: Path, scope: Scope) -> Interpreter:
    """Start the service's interpreter as the service's user. Raises SystemdError where that cannot be."""
    files = [directory / "config.yaml", directory / "etl.py"]
    interpreter, unreadable = probe_interpreter(find_interpreter(directory), scope, files)
    if unreadable:
        raise _unreadable(unreadable[0], _account(scope))
    return interpreter


def probe_interpreter(path: Path, scope: Scope, files: Sequence[Path]) -> tuple[Interpreter, list[Path]]:
    """Start an interpreter as the user of services; which of `files` are there and cannot be read by that user."""
    account = _account(scope)
    try:
        done = subprocess.run(
            [str(path), "-P", "-c", _PROBE, *map(str, files)],
            cwd="/",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={"PATH": os.defpath},
            **_as(account),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _unusable(path, account, str(error)) from error
    if done.returncode != 0:
        raise _unusable(path, account, (done.stderr.strip() or "it said nothing").splitlines()[-1])
    version, prefix, base, package, *readable = json.loads(done.stdout.splitlines()[-1])
    unreadable = [file for file, may in zip(files, readable, strict=True) if not may and file.exists()]
    return Interpreter(path, version, tuple(sorted({Path(prefix), Path(base), Path(package)}))), unreadable


def _account(scope: Scope) -> pwd.struct_passwd | None:
    """Whom the service runs as; None for this process's own user."""
    if scope == "user":
        return None
    try:
        account = pwd.getpwnam(SERVICE_USER)
    except KeyError:
        raise SystemdError(
            f"this host has no user {SERVICE_USER}, whom services run as",
            "run: sudo scripts/setup-dev.sh --prod (or add --user for a service of your own)",
        ) from None
    if os.geteuid() not in (0, account.pw_uid):
        raise SystemdError(
            "a service of the host is installed by root only",
            f"run: {with_sudo()} (or add --user for a service of your own, without root)",
        )
    return account


def _as(account: pwd.struct_passwd | None) -> dict[str, Any]:
    if account is None or os.geteuid() != 0:
        return {}
    groups = os.getgrouplist(account.pw_name, account.pw_gid)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": groups}


def _who(account: pwd.struct_passwd | None) -> str:
    return f"user {account.pw_name}" if account else "this user"


def _unusable(path: Path, account: pwd.struct_passwd | None, why: str) -> SystemdError:
    return SystemdError(
        f"{_who(account)} cannot run the pipeline with {path}: {why}",
        "make an environment that it can read: sudo scripts/setup-dev.sh --prod, or .venv/ in the pipeline's directory",
    )


def _unreadable(file: Path, account: pwd.struct_passwd | None) -> SystemdError:
    group = account.pw_name if account else ""
    return SystemdError(
        f"{_who(account)}, whom the service runs as, cannot read {file}",
        f"move the pipeline to /etc/etl/pipelines, or let the group {group} read its directory and those above",
    )
