"""A pipeline's directory is all that it needs, and the wheel in it is all that `generate` needs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from etl_cli.scaffold import Outcome
from etl_cli.scaffold.wheel import Wheel

GENERATE = """
import sys
from pathlib import Path
import etl_cli
from etl_cli.scaffold import Answers, generate, next_commands
assert Path(etl_cli.__file__).is_relative_to(sys.prefix), etl_cli.__file__
outcome = generate(Answers("orders", ("dbo.orders",)), Path.cwd())
print(next_commands(outcome.directory, Path.cwd())[0])
"""
LOAD_CONFIG = """
import sys
from pathlib import Path
import etl_cli
from etl_cli.runtime.config import load_config
assert Path(etl_cli.__file__).is_relative_to(sys.prefix), etl_cli.__file__
print(load_config(Path.cwd()).name)
"""


def run(*command: str | Path, cwd: Path, timeout_s: float = 120) -> str:
    """The output of `command`; it sees nothing of this checkout, but how this host reaches a package index."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if key == "HOME" or key.startswith(("PIP_", "SSL_")) or key.lower().endswith("_proxy")
    }
    environment = {"PATH": "/usr/bin:/bin", "PIP_DISABLE_PIP_VERSION_CHECK": "1", **kept}
    arguments = [str(part) for part in command]
    done = subprocess.run(
        arguments, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
    )
    assert done.returncode == 0, f"{' '.join(arguments[:6])}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def install(venv: Path, wheel: Path) -> None:
    run(venv / "bin" / "pip", "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=venv)


def test_an_installed_wheel_generates_and_hands_on_the_very_same_wheel(
    lent_venv: Path, pipeline: Outcome, real_wheel: Wheel, tmp_path: Path
) -> None:
    install(lent_venv, pipeline.directory / "vendor" / real_wheel.name)
    root = tmp_path / "elsewhere"
    root.mkdir()
    assert run(lent_venv / "bin" / "python", "-P", "-c", GENERATE, cwd=root) == "etl-cli check orders\n"
    made = root / "pipelines" / "orders"
    assert (made / "vendor" / real_wheel.name).read_bytes() == real_wheel.content
    assert {path.name for path in made.iterdir()} == {path.name for path in pipeline.directory.iterdir()}


def test_an_installed_wheel_that_lost_a_file_says_so(lent_venv: Path, pipeline: Outcome, real_wheel: Wheel) -> None:
    install(lent_venv, pipeline.directory / "vendor" / real_wheel.name)
    next(lent_venv.glob("lib/python*/site-packages/etl_cli/runtime/errors.py")).with_name("names.py").unlink()
    script = (
        f"try:\n    {GENERATE.strip().replace(chr(10), chr(10) + '    ')}\nexcept Exception as error:\n    print(error)"
    )
    told = run(lent_venv / "bin" / "python", "-P", "-c", script, cwd=lent_venv)
    assert "names.py of the installed etl-cli cannot be read: install it again" in told


@pytest.fixture(scope="module")
def installed_by_the_dockerfile(
    bare_venv: Path, pipeline: Outcome, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """The directory copied to an empty place, after its Dockerfile's own pip step: (directory, python)."""
    directory = tmp_path_factory.mktemp("empty") / "copied here alone"
    shutil.copytree(pipeline.directory, directory)
    steps = re.findall(r"^RUN (pip install .*)$", (directory / "Dockerfile").read_text(), re.MULTILINE)
    assert len(steps) == 1
    shell = f'PATH="{bare_venv}/bin:$PATH"; {steps[0]} --quiet'
    run("sh", "-ec", shell, cwd=directory, timeout_s=540)
    return directory, bare_venv / "bin" / "python"


@pytest.mark.timeout(600)  # downloads what a pipeline runs with: half a minute on a good line
def test_the_dockerfile_s_pip_step_installs_exactly_what_the_directory_pins(
    installed_by_the_dockerfile: tuple[Path, Path],
) -> None:
    directory, python = installed_by_the_dockerfile
    run(python, "-m", "pip", "check", cwd=directory)
    pins = [line for line in (directory / "requirements.txt").read_text().splitlines() if "==" in line]
    frozen = run(python, "-m", "pip", "freeze", cwd=directory).lower().replace("_", "-").splitlines()
    assert {line for line in frozen if "==" in line} == set(pins)
    run(python, "-c", "import mssql_python, pyodbc, psycopg, pgpq, pyarrow", cwd=directory)
    assert run(python, "-P", "-c", LOAD_CONFIG, cwd=directory) == "my-orders\n"


@pytest.mark.timeout(600)
def test_the_copied_directory_checks_itself_without_this_repository(
    installed_by_the_dockerfile: tuple[Path, Path],
) -> None:
    directory, python = installed_by_the_dockerfile
    config = directory / "config.yaml"
    config.write_text(config.read_text().replace("timeout: 15s", "timeout: 2s"))
    # ports where nothing listens: check must get as far as telling that no database answers
    nowhere = {f"SHARD{number}_PORT": "1" for number in (1, 2, 3, 4)} | {"SINK_DB_PORT": "1"}
    done = subprocess.run(
        [str(python), "etl.py", "check"],
        cwd=directory,
        env={"PATH": "/usr/bin:/bin", **nowhere},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "shard1" in done.stdout + done.stderr
