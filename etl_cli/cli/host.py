"""What the commands of this host's services share: their errors as lines, and which pipelines are meant."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from etl_cli.runtime.command_line import PROGRAM, errors_as_lines, pipeline_at
from etl_cli.runtime.locate import find_home

if TYPE_CHECKING:
    from etl_cli.systemd.service import Service

HOST_HOME = Path("/etc/etl")


@contextmanager
def errors_of_host(program: str, debug: bool) -> Iterator[None]:
    """Errors as lines of this command; without `pipelines/` here or above the host's own are meant."""
    PROGRAM[0] = program
    if find_home() is None and (HOST_HOME / "pipelines").is_dir():
        os.environ["ETL_HOME"] = str(HOST_HOME)
    with errors_as_lines(debug):
        yield


@contextmanager
def pipeline_of_host(program: str, name: str, debug: bool) -> Iterator[Path]:
    """The directory of a pipeline, with errors as lines of that command."""
    with errors_of_host(program, debug), pipeline_at(name, debug) as directory:
        yield directory


@contextmanager
def service_of_host(program: str, name: str, debug: bool, *, user: bool) -> Iterator[Service]:
    """The service of a pipeline, with errors as lines of that command."""
    with pipeline_of_host(program, name, debug) as directory:
        from etl_cli.systemd.service import named_service

        yield named_service(directory, user=user)
