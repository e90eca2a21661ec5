"""A booted systemd for tests: systemd-nspawn over an overlay of this host's root, which nothing is written to.

It lives in a mount namespace of its own, and dies with the process that started it: nothing stays behind.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
BOOT_S = 60.0
_NEEDED = ("systemd-nspawn", "nsenter", "unshare", "setpriv", "mount", "/usr/bin/python3")
# what would take ports or time from the tests
_MASKED = (
    *("postgresql.service", "apt-daily.timer", "apt-daily-upgrade.timer", "man-db.timer", "e2scrub_all.timer"),
    *("fstrim.timer", "dpkg-db-backup.timer", "ssh.service", "cron.service", "systemd-networkd.service"),
    *("systemd-resolved.service", "systemd-timesyncd.service", "docker.service", "containerd.service"),
    *("systemd-networkd-wait-online.service", "NetworkManager.service"),
)
_BOOT = """
set -e
mount -t tmpfs -o size=256m,mode=0755 tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
mkdir -p "$1/root/etc/systemd/system"
for unit in $2; do ln -sfn /dev/null "$1/root/etc/systemd/system/$unit"; done
rm -f "$1/root/etc/machine-id"
: > "$1/root/etc/machine-id"
shift 2
exec "$@"
"""


def cannot_boot() -> str:
    """Why no systemd can be booted here; empty where it can."""
    if os.geteuid() != 0:
        return "booting a systemd needs root"
    missing = [program for program in _NEEDED if shutil.which(program) is None]
    return f"not installed: {', '.join(missing)} (apt-get install systemd-container)" if missing else ""


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Machine:
    """A running container; `pid` is its systemd as this host counts."""

    pid: int

    @property
    def root(self) -> Path:
        """Its file system."""
        return Path(f"/proc/{self.pid}/root")

    def run(self, *command: str, timeout_s: float = 60, **environment: str) -> Done:
        """Run a command in it, as root."""
        done = subprocess.run(
            ["nsenter", "-t", str(self.pid), "-a", "sh", "-c", 'cd /; exec "$@"', "sh", *command],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
            check=False,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8", **environment},
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def check(self, *command: str, timeout_s: float = 60) -> str:
        """The same, which must succeed; its output."""
        done = self.run(*command, timeout_s=timeout_s)
        assert done.code == 0, f"{command}: {done.code}\n{done.out}\n{done.err}"
        return done.out

    def manage(self, *arguments: str, timeout_s: float = 90, **environment: str) -> Done:
        """`manage-pipeline ARGUMENTS`, of this checkout."""
        return self._command("manage", *arguments, timeout_s=timeout_s, **environment)

    def monitor(self, *arguments: str, timeout_s: float = 90, **environment: str) -> Done:
        """`monitor-pipelines ARGUMENTS`, of this checkout."""
        return self._command("monitor", *arguments, timeout_s=timeout_s, **environment)

    def _command(self, module: str, *arguments: str, timeout_s: float, **environment: str) -> Done:
        return self.run(
            sys.executable, "-P", "-m", f"etl_cli.cli.{module}", *arguments, timeout_s=timeout_s,
            PYTHONPATH=str(REPOSITORY), PYTHONDONTWRITEBYTECODE="1", **{"ETL_HOME": "/etc/etl", **environment},
        )  # fmt: skip

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.check("systemctl", "show", "--value", f"--property={name}", unit).strip()


@contextlib.contextmanager
def booted() -> Iterator[Machine]:
    """A machine, powered off at the end. Raises RuntimeError with the console where it does not boot."""
    place = Path(tempfile.mkdtemp(prefix="etl-machine-", dir="/tmp"))
    console = place.with_suffix(".console")
    with console.open("wb") as log:
        process = subprocess.Popen(_command(place), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield Machine(_wait(process, console))
    finally:
        _power_off(process)
        place.rmdir()
        console.unlink()


def _command(place: Path) -> list[str]:
    binds = {str(REPOSITORY), sys.prefix, sys.base_prefix, os.path.dirname(os.path.realpath(sys.executable))}
    nspawn = ["systemd-nspawn", f"--directory={place}/root", "--boot", "--register=no", "--keep-unit"]
    nspawn += [f"--machine={place.name[-20:].replace('_', 'x')}", "--console=read-only"]
    nspawn += [f"--bind-ro={path}" for path in sorted(binds)]
    start = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private"]
    return [*start, "sh", "-c", _BOOT, "boot", str(place), " ".join(_MASKED), *nspawn]


def _wait(process: subprocess.Popen[bytes], console: Path) -> int:
    deadline = time.monotonic() + BOOT_S
    while time.monotonic() < deadline and process.poll() is None:
        pid = _systemd_of(process.pid)
        if pid:
            state = Machine(pid).run("systemctl", "is-system-running").out.strip()
            if state in ("running", "degraded"):
                return pid
        time.sleep(0.3)
    raise RuntimeError(f"systemd did not boot:\n{console.read_text(errors='replace')[-3000:]}")


def _systemd_of(pid: int) -> int | None:
    """The first process of the container below nspawn."""
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            if Path(f"/proc/{child}/comm").read_text().strip() in ("systemd", "init"):
                return int(child)
    return None


def _power_off(process: subprocess.Popen[bytes]) -> None:
    pid = _systemd_of(process.pid)
    if pid:
        with contextlib.suppress(subprocess.TimeoutExpired):
            Machine(pid).run("systemctl", "poweroff", timeout_s=10)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()  # its systemd dies with it
        process.wait(20)
