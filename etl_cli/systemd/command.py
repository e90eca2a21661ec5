"""Runs a program of systemd and hands back what it said."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from etl_cli.runtime.errors import EtlError

TIMEOUT_S = 120.0
"""Longer than any start or stop that a unit of ours may take by its own limits, save a long stop_grace."""


class SystemdError(EtlError):
    """What systemd refused or could not do."""


@dataclass(frozen=True)
class Answer:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """All that it said, in one line."""
        return " ".join(f"{self.err} {self.out}".split())


def ask(command: Sequence[str], timeout_s: float = TIMEOUT_S) -> Answer:
    """Run `command` to its end. Raises SystemdError where it is not there or takes too long."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
            env=environment(),
        )
    except FileNotFoundError as error:
        raise no_systemd(f"there is no {command[0]}") from error
    except subprocess.TimeoutExpired as error:
        raise SystemdError(
            f"{shlex.join(command[:2])} did not answer within {timeout_s:.0f} s", "look at: systemctl list-jobs"
        ) from error
    return Answer(done.returncode, done.stdout, done.stderr)


def environment() -> dict[str, str]:
    """Nothing localised, coloured or paged, and no question asked by polkit."""
    plain = {"LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": "", "SYSTEMD_URLIFY": "0"}
    return {**os.environ, **plain}


def no_systemd(why: str) -> SystemdError:
    """The host has none, or it does not run."""
    return SystemdError(
        f"this host is not run by systemd ({why})",
        "run the pipeline in the foreground with `etl-cli run`, or build its Dockerfile",
    )


def with_sudo() -> str:
    """The command line that this process was called with, for root: by its full path, since sudo has its own PATH."""
    home = os.environ.get("ETL_HOME")
    return shlex.join(["sudo", *([f"ETL_HOME={home}"] if home else []), _program(), *sys.argv[1:]])


def _program() -> str:
    called = sys.argv[0]
    if os.sep not in called:
        return shutil.which(called) or called
    with suppress(OSError):  # where the working directory is gone, as it was called
        return str(Path(called).absolute())
    return called
