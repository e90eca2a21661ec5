"""scripts/lib.sh and scripts/setup-dev.sh, as far as they can be held without installing anything."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[3] / "scripts"


def run(script: str, *, path: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """`script` after lib.sh, with the PATH of the system alone, `path` before it."""
    search = ":".join([*([str(path)] if path else []), "/usr/bin", "/bin"])
    command = ["bash", "-c", f"set -euo pipefail; source {SCRIPTS}/lib.sh; {script}", "setup-dev.sh"]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": search, "HOME": "/nonexistent", **environment},
    )


def executable(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_the_scripts_are_clean_by_shellcheck() -> None:
    done = subprocess.run(
        ["shellcheck", "-x", "scripts/lib.sh", "scripts/setup-dev.sh"],
        capture_output=True, text=True, check=False, cwd=SCRIPTS.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_an_unknown_argument_is_one_line_and_exit_code_2() -> None:
    done = subprocess.run([SCRIPTS / "setup-dev.sh", "--nope"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "setup-dev.sh: unknown argument --nope; see --help\n"


def test_help_tells_the_forms() -> None:
    done = subprocess.run([SCRIPTS / "setup-dev.sh", "--help"], capture_output=True, text=True, check=True)
    assert "scripts/setup-dev.sh --prod" in done.stdout
    assert "set -euo" not in done.stdout


def test_a_python_that_is_a_name_only_or_too_old_is_passed_over(tmp_path: Path) -> None:
    executable(tmp_path / "python3.13", "echo 'python3.13: command not found' >&2; exit 127")
    executable(tmp_path / "python3.12", "exit 1")
    (tmp_path / "python3.11").symlink_to(sys.executable)
    done = run("find_python", path=tmp_path)
    assert done.stdout.strip() == str(tmp_path / "python3.11")


def test_the_python_that_was_asked_for_is_taken_or_refused_but_not_replaced(tmp_path: Path) -> None:
    assert run("find_python", PYTHON=sys.executable).stdout.strip() == sys.executable
    old = executable(tmp_path / "old", "exit 1")
    done = run("find_python", PYTHON=str(old))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


def test_without_root_a_missing_package_ends_with_the_exact_command(tmp_path: Path) -> None:
    executable(tmp_path / "id", "echo 1000")
    executable(tmp_path / "dpkg-query", "exit 1")
    done = run("ensure_packages libltdl7 libkrb5-3", path=tmp_path)
    assert done.returncode == 1
    expected = "setup-dev.sh: system packages are missing; run: sudo apt-get install -y libltdl7 libkrb5-3\n"
    assert done.stderr == expected


def test_without_root_nothing_is_said_when_all_packages_are_there(tmp_path: Path) -> None:
    executable(tmp_path / "id", "echo 1000")
    executable(tmp_path / "dpkg-query", "echo installed")
    done = run("ensure_packages libltdl7", path=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_package_lists_are_fetched_only_when_an_installation_needs_them(tmp_path: Path) -> None:
    executable(tmp_path / "id", "echo 0")
    executable(tmp_path / "dpkg-query", "exit 1")
    log = tmp_path / "log"
    executable(tmp_path / "apt-get", f'echo "$1" >> {log}')
    assert run("ensure_packages libltdl7", path=tmp_path).returncode == 0
    assert log.read_text().split() == ["install"]
    log.unlink()
    executable(tmp_path / "apt-get", f'echo "$1" >> {log}; [ "$1" = update ] || grep -q update {log}')
    assert run("ensure_packages libltdl7", path=tmp_path).returncode == 0
    assert log.read_text().split() == ["install", "update", "install"]


def test_where_debian_lacks_the_venv_module_root_gets_it_and_a_venv(tmp_path: Path) -> None:
    flag = tmp_path / "installed"
    executable(tmp_path / "id", "echo 0")
    executable(tmp_path / "dpkg-query", "exit 1")
    executable(tmp_path / "apt-get", f'for last; do :; done; echo "$last" > {flag}')
    python = executable(
        tmp_path / "python", f'case "$2" in *ensurepip*) test -e {flag};; *) exec {sys.executable} "$@";; esac'
    )
    done = run(f"ensure_venv {tmp_path}/venv", path=tmp_path, PYTHON=str(python))
    assert done.returncode == 0, done.stderr
    assert flag.read_text() == f"python3.{sys.version_info.minor}-venv\n"
    assert (tmp_path / "venv" / "bin" / "pip").exists()


def test_a_directory_that_is_no_venv_is_never_removed(tmp_path: Path) -> None:
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "mine").touch()
    done = run(f"ensure_venv {tmp_path}/venv", PYTHON=sys.executable)
    assert done.returncode == 1
    assert "is not a virtual environment" in done.stderr
    assert (tmp_path / "venv" / "mine").exists()
