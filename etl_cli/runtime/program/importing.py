"""Imports a pipeline's etl.py, once as it stands, and gives what it declares."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from functools import cache
from pathlib import Path

from etl_cli.runtime.errors import ConfigError
from etl_cli.runtime.pipeline import Pipeline
from etl_cli.runtime.program.declared import Declared

PROGRAM = "etl.py"


def declared_in(directory: Path) -> Declared:
    """What the etl.py in `directory` declares; nothing where there is none.

    Raises ConfigError that names file and line where it cannot be imported.
    """
    file = directory.resolve() / PROGRAM
    return _declared(file.parent, file.stat().st_mtime_ns) if file.is_file() else Declared()


def told_of(error: Exception, directory: Path) -> str:
    """An exception of the program's code on one line, with the line of etl.py that it comes from."""
    program = str(directory.resolve() / PROGRAM)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == program]
    place = f" (etl.py, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{place}"


@cache
def _declared(directory: Path, changed_at: int) -> Declared:
    """`changed_at` has a file that was changed imported again."""
    file = directory / PROGRAM
    name = f"etl_program_{abs(hash(directory))}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(directory))  # its own modules lie beside it
    try:
        spec.loader.exec_module(module)
    except ConfigError:
        raise
    except Exception as error:
        place = next((f for f in reversed(traceback.extract_tb(error.__traceback__)) if f.filename == str(file)), None)
        line = f", line {place.lineno}" if place else ""
        told = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(f"{file}{line}: {told}", "correct it, and check again") from error
    finally:
        sys.path.remove(str(directory))
    found = [value for value in vars(module).values() if isinstance(value, Pipeline)]
    if not found:
        raise ConfigError(f"{file} has no pipeline", "begin it with: pipeline = Pipeline.load(__file__)")
    return found[0].declared
