"""A booted systemd for tests: systemd-nspawn over an overlay of this host's root, which nothing is written to.

It lives in a mount namespace of its own, and dies with the process that started it: nothing stays behind.
A reboot keeps what was written: the same overlay is booted again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

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
set +e
while :; do
    "$@" </dev/null
    code=$?
    # a container that reboots ends with this code, and stays down until it is told to go on
    [ $code -eq 133 ] && read -r _ || exit $code
done
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


@dataclass
class Machine:
    """A running container; `pid` is its systemd as this host counts, another one after each reboot."""

    pid: int
    process: subprocess.Popen[bytes]
    console: Path

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
            env={
                "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                "HOME": "/root",
                "LANG": "C.UTF-8",
                **environment,
            },
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

    def wait(self) -> None:
        """Until it has booted. Raises RuntimeError with the console where it does not."""
        deadline = time.monotonic() + BOOT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            self.pid = _systemd_of(self.process.pid) or 0
            if self.pid and self.run("systemctl", "is-system-running").out.strip() in ("running", "degraded"):
                return
            time.sleep(0.2)
        raise RuntimeError(f"systemd did not boot:\n{self.console.read_text(errors='replace')[-3000:]}")

    def reboot(self, while_down: Callable[[], None] = lambda: None) -> None:
        """Shut it down in order, do something, and boot it again."""
        self.run("systemctl", "reboot")
        deadline = time.monotonic() + BOOT_S
        while _systemd_of(self.process.pid) is not None:
            assert time.monotonic() < deadline, "it does not shut down"
            time.sleep(0.1)
        while_down()
        assert self.process.stdin is not None
        self.process.stdin.write(b"go on\n")
        self.process.stdin.flush()
        self.wait()

    def power_off(self) -> None:
        """End it, whatever it is doing."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        if _systemd_of(self.process.pid) is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.run("systemctl", "poweroff", timeout_s=10)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()  # nspawn and its systemd die with it
            self.process.wait(20)


@contextlib.contextmanager
def booted(shown: Mapping[Path, Path] = MappingProxyType({})) -> Iterator[Machine]:
    """A machine, powered off at the end; `shown` are directories of this host and where they are seen in it.

    Raises RuntimeError with the console where it does not boot.
    """
    place = Path(tempfile.mkdtemp(prefix="etl-machine-", dir="/tmp"))
    console = place.with_suffix(".console")
    with console.open("wb") as log:
        process = subprocess.Popen(_command(place, shown), stdin=subprocess.PIPE, stdout=log, stderr=log)
    machine = Machine(0, process, console)
    try:
        machine.wait()
        yield machine
    finally:
        machine.power_off()
        place.rmdir()
        console.unlink()


def _command(place: Path, shown: Mapping[Path, Path]) -> list[str]:
    same = {str(REPOSITORY), sys.prefix, sys.base_prefix, os.path.dirname(os.path.realpath(sys.executable))}
    nspawn = ["systemd-nspawn", f"--directory={place}/root", "--boot", "--register=no", "--keep-unit"]
    nspawn += [f"--machine={place.name[-20:].replace('_', 'x')}", "--console=read-only"]
    nspawn += [f"--bind-ro={path}" for path in sorted(same)]
    nspawn += [f"--bind-ro={here}:{there}" for here, there in shown.items()]
    bound = ["setpriv", "--pdeathsig", "KILL"]
    start = [*bound, "unshare", "--mount", "--propagation", "private"]
    return [*start, "sh", "-c", _BOOT, "boot", str(place), " ".join(_MASKED), *bound, *nspawn]


def _systemd_of(pid: int) -> int | None:
    """The first process of the container, below the nspawn that the shell `pid` has started."""
    with contextlib.suppress(OSError):
        for nspawn in _children(pid):
            for child in _children(nspawn):
                if Path(f"/proc/{child}/comm").read_text().strip() in ("systemd", "init"):
                    return child
    return None


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
