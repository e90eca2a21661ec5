"""Lets one service of a pipeline on a host go on with what that host had taken, over its own connection."""

from __future__ import annotations

import socket

from etl_cli.runtime.sink.connect import SinkConnection

_SERVICE_CLASS = 0x657472
"""First key of the advisory locks of services; the second is the hash of pipeline and host."""


def is_only_service(connection: SinkConnection, pipeline: str) -> bool:
    """Whether no other service of the pipeline is up on this host; it stays so until the connection ends."""
    row = connection.execute(
        "SELECT pg_try_advisory_lock(%s, hashtext(%s))", [_SERVICE_CLASS, f"{pipeline} {socket.gethostname()}"]
    ).fetchone()
    return bool(row and row[0])
