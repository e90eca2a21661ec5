"""Finds a pipeline's directory by its name or path."""

from __future__ import annotations

import os
import re
from pathlib import Path

from etl_cli.runtime.errors import UsageError


def find_home(here: Path | None = None) -> Path | None:
    """The directory that holds `pipelines/`: $ETL_HOME, else the nearest parent that has one."""
    home = os.environ.get("ETL_HOME")
    if home:
        return Path(home)
    start = here or Path.cwd()
    return next((path for path in (start, *start.parents) if (path / "pipelines").is_dir()), None)


def all_pipelines() -> tuple[Path, list[Path]]:
    """The home, and the directory of each of its pipelines by name.

    Raises UsageError where there is no home, and where this user may not look into it: that is not "no pipelines".
    """
    home = find_home()
    if home is None:
        raise UsageError("no directory `pipelines` here or above", "change to one that has it, or set ETL_HOME")
    place = home / "pipelines"
    try:
        return home, sorted(directory for directory in place.iterdir() if _holds_pipeline(directory))
    except FileNotFoundError:
        return home, []
    except OSError as error:
        raise UsageError(
            f"{place} cannot be read ({error.strerror})", "repeat it as a user who may, or with sudo"
        ) from error


def _holds_pipeline(directory: Path) -> bool:
    try:
        return (directory / "config.yaml").is_file()
    except PermissionError:  # whoever reads it will tell
        return True


def find_pipeline(name: str) -> Path:
    """The directory of a pipeline. Raises UsageError that names the pipelines that are there."""
    if os.sep in name or name in (".", ".."):
        directory = Path(name)
        if (directory / "config.yaml").is_file():
            return directory.resolve()
        raise UsageError(f"{name} holds no config.yaml", "name a pipeline's directory, or the pipeline itself")
    home = find_home()
    if home is None:
        raise UsageError("no directory `pipelines` here or above", "change to one that has it, or set ETL_HOME")
    directory = home / "pipelines" / name
    if (directory / "config.yaml").is_file():
        return directory
    known = ", ".join(sorted(path.parent.name for path in (home / "pipelines").glob("*/config.yaml")))
    there = f"there are: {known}" if known else "there is none yet: etl-cli generate --name " + name
    raise UsageError(f"no pipeline named {name} in {home / 'pipelines'}", there)


def vendored_version(directory: Path) -> str | None:
    """The version of the runtime that the directory carries in vendor/."""
    names = sorted(path.name for path in (directory / "vendor").glob("etl_cli-*.whl"))
    found = re.match(r"etl_cli-([^-]+)-", names[-1]) if names else None
    return found[1] if found else None
