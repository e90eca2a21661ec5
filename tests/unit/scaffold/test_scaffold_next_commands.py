from __future__ import annotations

from pathlib import Path

import pytest

from etl_cli.scaffold import next_commands


@pytest.fixture
def directory(root: Path) -> Path:
    directory = root / "pipelines" / "orders"
    directory.mkdir(parents=True)
    return directory


@pytest.mark.parametrize("here", [".", "pipelines", "pipelines/orders", "docs/deep"])
def test_within_the_project_a_name_is_enough(here: str, directory: Path, root: Path) -> None:
    (root / here).mkdir(parents=True, exist_ok=True)
    assert next_commands(directory, root / here) == (
        "etl-cli check orders",
        "etl-cli plan orders",
        "etl-cli run orders",
    )


def test_with_etl_home_a_name_is_enough_everywhere(directory: Path, root: Path) -> None:
    assert next_commands(directory, Path("/"), home=root)[0] == "etl-cli check orders"


def test_elsewhere_it_is_a_path_and_quoted(tmp_path: Path) -> None:
    directory = tmp_path / "my project" / "pipelines" / "orders"
    directory.mkdir(parents=True)
    assert next_commands(directory, tmp_path)[0] == "etl-cli check 'my project/pipelines/orders'"
    assert next_commands(directory, Path("/usr"), program="x")[2] == f"x run '{directory}'"


def test_from_another_project_it_is_the_whole_path(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "other" / "pipelines").mkdir(parents=True)
    assert next_commands(directory, tmp_path / "other")[0] == f"etl-cli check {directory}"
    assert next_commands(directory, directory, home=tmp_path / "other")[0] == "etl-cli check ."
    # not the bare name, which would mean a pipeline of $ETL_HOME
    assert next_commands(directory, directory.parent, home=tmp_path / "other")[0] == "etl-cli check ./orders"
