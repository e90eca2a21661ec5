"""`python -m etl_cli.sandbox.ports`: prints the sandbox's usual ports where they are free, others where not."""

from __future__ import annotations

import socket

from etl_cli.sandbox.sandbox import PORT_BASE, SHARDS, SINK_PORT

_LAST_TRIED = 20


def choose_ports() -> tuple[int, int]:
    """A base with four free ports above it, and a free port for the Postgres."""
    base = next(base for base in _candidates(PORT_BASE, 10_000) if all(_is_free(base + n) for n in range(SHARDS)))
    return base, next(port for port in _candidates(SINK_PORT, 10_000) if _is_free(port))


def _candidates(usual: int, step: int) -> list[int]:
    return [usual, *(usual + step + 10 * n for n in range(_LAST_TRIED))]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


if __name__ == "__main__":
    print(*choose_ports())
