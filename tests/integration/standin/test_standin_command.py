"""The command line: it tells its port, keeps the password out of sight, and ends when it is told to."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyodbc
import pytest

from etl_cli.sandbox.standin import ControlClient, ControlError
from tests.integration.standin.drivers import microsoft_driver

PASSWORD = "Secret.Password.1"
WAIT_S = 20


@pytest.fixture
def command() -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A stand-in from the command line with its control socket on a port, and what it told."""
    environment = {**os.environ, "STANDIN_PASSWORD": PASSWORD, "PYTHONPATH": str(Path(__file__).parents[3])}
    process = subprocess.Popen(
        [sys.executable, "-m", "etl_cli.sandbox.standin", "--port", "0", "--database", "shop", "--control", "0"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process, json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _connected(told: dict[str, Any]) -> pyodbc.Connection:
    return pyodbc.connect(
        f"DRIVER={microsoft_driver()};SERVER=127.0.0.1,{told['port']};DATABASE=shop;UID=sa;PWD={PASSWORD};Encrypt=no",
        timeout=10,
    )


def test_it_serves_the_port_that_it_tells(command: tuple[subprocess.Popen[str], dict[str, Any]]) -> None:
    process, told = command
    with closing(_connected(told)) as connection:
        assert connection.execute("SELECT DB_NAME()").fetchval() == "shop"
    assert told["pid"] == process.pid


def test_the_password_stands_in_no_process_list(command: tuple[subprocess.Popen[str], dict[str, Any]]) -> None:
    process, told = command
    assert PASSWORD not in Path(f"/proc/{process.pid}/cmdline").read_text()
    assert PASSWORD not in json.dumps(told)


def test_the_control_port_wants_the_password(command: tuple[subprocess.Popen[str], dict[str, Any]]) -> None:
    _, told = command
    with (
        closing(ControlClient(told["control"], "wrong")) as client,
        pytest.raises(ControlError, match="wrong password"),
    ):
        client.call("ping")
    with closing(ControlClient(told["control"], PASSWORD)) as client:
        assert client.call("ping") == "pong"
        client.call("execute", sql="CREATE TABLE dbo.t (a int); INSERT INTO dbo.t VALUES (1)")
        assert client.call("row_count", table="dbo.t") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_connections_open(
    command: tuple[subprocess.Popen[str], dict[str, Any]], number: signal.Signals
) -> None:
    process, told = command
    with closing(_connected(told)):
        process.send_signal(number)
        assert process.wait(WAIT_S) == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", told["port"]), timeout=5)


def test_stop_by_the_control_socket_ends_it(command: tuple[subprocess.Popen[str], dict[str, Any]]) -> None:
    process, told = command
    with closing(ControlClient(told["control"], PASSWORD)) as client:
        client.call("stop")
    assert process.wait(WAIT_S) == 0
