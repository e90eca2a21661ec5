"""A generated pipeline with this checkout's real wheel."""

from __future__ import annotations

import shutil
import sys
import venv
from pathlib import Path

import pytest

from etl_cli.scaffold import Answers, Outcome, generate
from etl_cli.scaffold.origin import find_origin
from etl_cli.scaffold.wheel import Wheel, own_wheel

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def real_wheel(tmp_path_factory: pytest.TempPathFactory) -> Wheel:
    """The wheel of a copy of this checkout, so that nobody's edit during the test changes it."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("etl_cli", "templates"):
        shutil.copytree(REPOSITORY / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "constraints.txt", "LICENSE", "README.md"):
        if (REPOSITORY / name).is_file():
            shutil.copy(REPOSITORY / name, copy / name)
    (copy / "README.md").touch()
    return own_wheel(find_origin(copy / "etl_cli"))


@pytest.fixture(scope="session")
def pipeline(real_wheel: Wheel, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """A generated pipeline; the tests only read it."""
    return generate(Answers("my-orders"), tmp_path_factory.mktemp("project"), wheel=real_wheel)


def make_venv(directory: Path) -> Path:
    """A fresh virtual environment with nothing but pip."""
    venv.create(directory, with_pip=True, symlinks=True)
    return directory


@pytest.fixture(scope="session")
def bare_venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_venv(tmp_path_factory.mktemp("bare") / "venv")


@pytest.fixture
def lent_venv(tmp_path: Path) -> Path:
    """A fresh one that borrows this one's packages, after its own: no downloads."""
    directory = make_venv(tmp_path / "venv")
    own = next((directory / "lib").glob("python*")) / "site-packages"
    borrowed = [path for path in sys.path if path.endswith("site-packages")]
    (own / "zz-borrowed.pth").write_text("\n".join(borrowed) + "\n")
    return directory
