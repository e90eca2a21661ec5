"""A checkout of its own, a wheel that costs nothing, and a root to generate into."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from etl_cli.scaffold import Answers, Outcome, generate
from etl_cli.scaffold.wheel import Wheel

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this checkout, so that nobody's edit during the test changes it."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("etl_cli", "templates"):
        shutil.copytree(REPOSITORY / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "constraints.txt", "LICENSE", "README.md"):
        if (REPOSITORY / name).is_file():
            shutil.copy(REPOSITORY / name, copy / name)
    (copy / "README.md").touch()
    return copy


@pytest.fixture
def wheel() -> Wheel:
    return Wheel("etl_cli-0.1.0-py3-none-any.whl", b"a wheel")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    return root


@pytest.fixture
def make(root: Path, wheel: Wheel) -> Callable[..., Outcome]:
    """`generate` with the cheap wheel: make(tables=..., force=...)."""

    def make(name: str = "orders", tables: tuple[str, ...] = (), **options: object) -> Outcome:
        return generate(Answers(name, tables), root, **{"wheel": wheel, **options})  # type: ignore[arg-type]

    return make


@pytest.fixture
def snapshot(root: Path) -> Callable[[], dict[str, tuple[bytes, int]]]:
    """Every file below the root with its bytes and mode; a directory has none."""

    def snapshot() -> dict[str, tuple[bytes, int]]:
        return {
            path.relative_to(root).as_posix(): (
                path.read_bytes() if path.is_file() else b"",
                path.lstat().st_mode & 0o777,
            )
            for path in sorted(root.rglob("*"))
        }

    return snapshot
