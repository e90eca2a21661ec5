"""python -m etl_cli.sandbox.standin: serve one database, one shard, until the process is told to end."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from etl_cli.sandbox.standin.control import ControlServer
from etl_cli.sandbox.standin.handle import DatabaseHandle
from etl_cli.sandbox.standin.script import run_script
from etl_cli.sandbox.standin.server import PASSWORD_VARIABLE, StandIn
from etl_cli.sandbox.standin.wire.login import ENCRYPTION_MODES


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m etl_cli.sandbox.standin", description=__doc__)
    parser.add_argument("--port", type=int, default=1433, help="0 takes a free one")
    parser.add_argument("--host", default="127.0.0.1", help="an address of the loopback")
    parser.add_argument("--database", default="sourcedb")
    parser.add_argument("--user", default="sa")
    parser.add_argument("--password", help=f"better in the environment: {PASSWORD_VARIABLE}")
    parser.add_argument("--encryption", choices=ENCRYPTION_MODES, default="optional")
    parser.add_argument("--no-snapshot", action="store_true", help="start with ALLOW_SNAPSHOT_ISOLATION OFF")
    parser.add_argument("--cache-mb", type=int, default=1024, help="bound of the encoded rows kept")
    parser.add_argument("--load", help="module:function or file.py:function, called with the database")
    parser.add_argument("--load-options", default="{}", help="keywords for it, as JSON")
    parser.add_argument("--script", type=Path, help="a file of SQL, batches apart by GO")
    parser.add_argument("--control", metavar="PORT|PATH", help="a loopback port or the path of a unix socket")
    parser.add_argument("--certificate", type=Path, help="where to write the certificate (PEM)")
    parser.add_argument("--end-with-stdin", action="store_true", help="end when standard input closes")
    return parser


def loader(name: str) -> Callable[..., object]:
    """Return the callable of module:function or file.py:function."""
    place, _, function = name.rpartition(":")
    if place.endswith(".py"):
        spec = importlib.util.spec_from_file_location(Path(place).stem, place)
        if spec is None or spec.loader is None:
            raise SystemExit(f"{place} cannot be loaded")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    else:
        module = importlib.import_module(place)
    found: Callable[..., object] = getattr(module, function)
    return found


def _fill(database: DatabaseHandle, options: argparse.Namespace) -> None:
    if options.script is not None:
        run_script(database, options.script.read_text(encoding="utf-8"))
    if options.load is not None:
        loader(options.load)(database, **json.loads(options.load_options))


def _until_ended(ended: threading.Event, *, with_stdin: bool) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    if with_stdin:
        threading.Thread(target=_wait_for_stdin, args=(ended,), daemon=True).start()
    while not ended.wait(1.0):  # in steps, so that signals are seen
        pass


def _wait_for_stdin(ended: threading.Event) -> None:
    sys.stdin.read()
    ended.set()


def main(arguments: list[str] | None = None) -> int:
    """Serve; the first line on standard output is JSON with the port, once it listens."""
    options = _arguments().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s standin %(levelname)s %(message)s")
    server = StandIn(
        options.port,
        host=options.host,
        database=options.database,
        user=options.user,
        password=options.password,
        encryption=options.encryption,
        allow_snapshot=not options.no_snapshot,
        cache_bytes=options.cache_mb << 20,
    )
    _fill(server.database, options)
    if options.certificate is not None:
        options.certificate.write_bytes(server.certificate_pem)
    ended = threading.Event()
    with server:
        control = _control(server, options.control, ended)
        _tell(server, control)
        _until_ended(ended, with_stdin=options.end_with_stdin)
        if control is not None:
            control.close()
    return 0


def _control(server: StandIn, address: str | None, ended: threading.Event) -> ControlServer | None:
    if address is None:
        return None
    control = ControlServer(server, int(address) if address.isdigit() else address)
    control.stopped = ended
    control.start()
    return control


def _tell(server: StandIn, control: ControlServer | None) -> None:
    told: dict[str, Any] = {
        "port": server.port, "database": server.database.name, "pid": os.getpid(),
        "control": None if control is None else control.address, "certificate": server.certificate_pem.decode(),
    }  # fmt: skip
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
