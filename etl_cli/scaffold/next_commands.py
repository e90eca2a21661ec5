"""The commands to type after `generate`, shaped for where the user stands."""

from __future__ import annotations

import shlex
from pathlib import Path

VERBS = ("check", "plan", "run")


def next_commands(
    directory: Path, here: Path, *, home: Path | None = None, program: str = "etl-cli"
) -> tuple[str, ...]:
    """`check`, `plan` and `run` of the pipeline in `directory`, for a shell in the directory `here`.

    By name where a name is enough: under `home` ($ETL_HOME) or, without one, when the nearest
    parent of `here` that has pipelines/ is the pipeline's own. Otherwise by path.
    """
    pipeline = shlex.quote(_shortest(directory.absolute(), here.absolute(), home))
    return tuple(f"{program} {verb} {pipeline}" for verb in VERBS)


def _shortest(directory: Path, here: Path, home: Path | None) -> str:
    found = home or next((path for path in (here, *here.parents) if (path / "pipelines").is_dir()), None)
    if found and (found / "pipelines").resolve() == directory.parent.resolve():
        return directory.name
    if not directory.is_relative_to(here):
        return str(directory)
    path = str(directory.relative_to(here))
    # a bare word would be looked up as a name
    return path if "/" in path or path == "." else f"./{path}"
