"""Stands in for `python -m etl_cli.runtime serve DIRECTORY`: the same contract with systemd, no pipeline.

The file DIRECTORY/behaviour says what goes wrong: crash, wrong-config, hang, deaf (no READY), slow-stop.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from types import FrameType


def notify(*lines: str) -> None:
    address = os.environ["NOTIFY_SOCKET"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.sendto("\n".join(lines).encode(), "\0" + address[1:] if address.startswith("@") else address)


def write(path: Path, data: object) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(data))
    temporary.chmod(0o644)
    temporary.replace(path)


class Server:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        behaviour = directory / "behaviour"
        self.behaviour = behaviour.read_text().strip() if behaviour.exists() else ""
        self.config = Path(os.environ["RUNTIME_DIRECTORY"]) / "config.json"
        self.taken = ""
        self.ended = threading.Event()

    def take_config(self) -> None:
        content = (self.directory / "config.yaml").read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        if b"refuse-me" in content:
            write(self.config, {"taken": self.taken, "refused": digest, "problem": "line 1: refuse-me"})
        else:
            self.taken = digest
            write(self.config, {"taken": digest, "refused": None, "problem": None})

    def reload(self, *_: object) -> None:
        notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        self.take_config()
        notify("READY=1", "STATUS=reloaded")

    def stop(self, number: int, frame: FrameType | None) -> None:
        notify("STOPPING=1", "STATUS=stopping")
        if self.behaviour == "slow-stop":
            time.sleep(3)
            print("committed within stop_grace", flush=True)
        self.ended.set()

    def run(self) -> int:
        print("<6>starting", flush=True)
        if self.behaviour == "wrong-config":
            print("<3>config.yaml: line 3: schedul: unknown key", flush=True)
            return 2
        if self.behaviour == "crash":
            print("<3>it crashed", flush=True)
            return 1
        credentials = Path(os.environ.get("CREDENTIALS_DIRECTORY", "/nonexistent")) / "env"
        write(Path(os.environ["STATE_DIRECTORY"]) / "seen.json", self.seen(credentials))
        self.take_config()
        signal.signal(signal.SIGHUP, self.reload)
        signal.signal(signal.SIGTERM, self.stop)
        if self.behaviour != "deaf":
            notify("READY=1", "STATUS=idle, next run at 00:00")
        while not self.ended.is_set():
            if self.behaviour != "hang":
                notify("WATCHDOG=1")
            self.ended.wait(int(os.environ.get("WATCHDOG_USEC", "60000000")) / 2e6 if self.behaviour != "hang" else 1)
        return 0

    def seen(self, credentials: Path) -> dict[str, object]:
        return {
            "arguments": sys.argv[1:],
            "cwd": os.getcwd(),
            "uid": os.getuid(),
            "environment": dict(os.environ),
            "credentials": credentials.read_text() if credentials.exists() else None,
            "mode": oct(credentials.stat().st_mode) if credentials.exists() else None,
            "writes": {path: can_write(path) for path in (os.getcwd(), "/etc", "/usr", "/tmp", "/var/lib")},
            "logs": can_write(os.environ["LOGS_DIRECTORY"]),
        }


def can_write(directory: str) -> bool:
    try:
        (Path(directory) / "probe").touch()
    except OSError:
        return False
    (Path(directory) / "probe").unlink()
    return True


if __name__ == "__main__":
    raise SystemExit(Server(Path(sys.argv[1])).run())
