"""The way to a server that a test closes and opens again."""

from __future__ import annotations

import socket

import pytest

from tests.support.forwarder import Forwarder


def test_a_closed_forwarder_keeps_its_port_and_refuses() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, Forwarder(server.getsockname()[1]) as way:
        for _ in range(2):
            way.close()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", way.port), timeout=5)
            with socket.socket() as other, pytest.raises(OSError, match="Address already in use"):
                other.bind(("127.0.0.1", way.port))
            way.open()
            with socket.create_connection(("127.0.0.1", way.port), timeout=5) as client:
                accepted, _ = server.accept()
                with accepted:
                    client.sendall(b"there")
                    assert accepted.recv(5) == b"there"
