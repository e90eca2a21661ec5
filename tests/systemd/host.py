"""What `setup-dev.sh --prod` makes of a host, made in the machine without a package index.

/opt/etl/venv holds the wheel of this checkout, installed by pip; what it depends on is that of the environment
that the tests run in, shown read-only. The interpreter is the tests' own, shown below /opt/etl as well: where it
lies by itself, the user that services run as may not read.
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

from etl_cli.scaffold.origin import find_origin
from etl_cli.scaffold.wheel import own_wheel
from tests.systemd.machine import Machine

USER = "etl"
VENV = Path("/opt/etl/venv")
_PYTHON = Path("/opt/etl/python")
_PACKAGES = Path("/opt/etl/packages")
_PYTHON_NAME = f"python{sys.version_info.major}.{sys.version_info.minor}"


def shown() -> dict[Path, Path]:
    """The directories of this host that the machine must show, and where."""
    return {Path(sys.base_prefix): _PYTHON, Path(sysconfig.get_path("purelib")): _PACKAGES}


def add_user(machine: Machine) -> None:
    """The user that services run as, and the directory of pipelines that it may read."""
    machine.check(
        *("useradd", "--system", "--user-group", f"--home-dir=/var/lib/{USER}", "--shell=/usr/sbin/nologin", USER)
    )
    machine.check("install", "-d", "-o", "root", "-g", USER, "-m", "0750", "/etc/etl", "/etc/etl/pipelines")


def add_interpreter(machine: Machine) -> None:
    """/opt/etl/venv with etl-cli in it, unless it is there already."""
    if (machine.root / VENV.relative_to("/")).is_dir():
        return
    # an interpreter that is linked to a library of its own finds it by its old place only
    (machine.root / "etc/ld.so.conf.d/etl-python.conf").write_text(f"{_PYTHON}/lib\n")
    machine.check("ldconfig")
    machine.check(f"{_PYTHON}/bin/{_PYTHON_NAME}", "-m", "venv", "--without-pip", str(VENV))
    site = VENV / "lib" / _PYTHON_NAME / "site-packages"
    (machine.root / site.relative_to("/") / "dependencies.pth").write_text(f"{_PACKAGES}\n")
    wheel = own_wheel(find_origin())
    (machine.root / "root" / wheel.name).write_bytes(wheel.content)
    pip = (
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-cache-dir",
        "--python",
        f"{VENV}/bin/python",
    )
    machine.check(*pip, "install", "--quiet", "--no-index", "--no-deps", "--force-reinstall", f"/root/{wheel.name}")


def command(name: str) -> str:
    """The path of `etl-cli` or `manage-pipeline` there."""
    return str(VENV / "bin" / name)
