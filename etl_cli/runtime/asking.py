"""Asks a pipeline's service for something, through the ledger."""

from __future__ import annotations

import getpass
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from etl_cli.runtime.config import Config, load_config
from etl_cli.runtime.errors import EtlError
from etl_cli.runtime.ledger.ledger import Ledger
from etl_cli.runtime.ledger.migrate import ledger_errors
from etl_cli.runtime.ledger.slots import answer_of, ask
from etl_cli.runtime.planning import sink_of
from etl_cli.runtime.sink.connect import SinkConnection, connect_sink

LOOK_S = 0.5
TAKEN_WITHIN_S = 15.0


def ask_for_run(directory: Path, arguments: Mapping[str, Any]) -> int:
    """Leave a request to run now; its number. Raises EtlError where the sink is away."""
    config = load_config(directory)
    with _ledger(config) as connection:
        asker = f"{getpass.getuser()}@{socket.gethostname()}"
        return ask(connection, config.name, "run", arguments, asker)


def wait_for(directory: Path, request_id: int) -> str:
    """Wait for the answer. Raises EtlError where no service has taken the request in time."""
    config = load_config(directory)
    began = time.monotonic()
    with _ledger(config) as connection:
        while True:
            taken, answer = answer_of(connection, request_id)
            if answer is not None:
                return answer
            if not taken and time.monotonic() - began > TAKEN_WITHIN_S:
                raise EtlError(
                    f"nobody has taken request {request_id}", f"is the service up? manage-pipeline info {config.name}"
                )
            time.sleep(LOOK_S)


@contextmanager
def _ledger(config: Config) -> Iterator[SinkConnection]:
    with connect_sink(sink_of(config), f"etl-cli {config.name} ask") as connection, ledger_errors(connection):
        Ledger(connection).register(config.name, config.id)
        yield connection
