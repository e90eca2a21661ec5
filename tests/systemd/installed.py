"""A pipeline in the machine, and its unit."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.systemd.machine import Machine


@dataclass(frozen=True)
class InstalledPipeline:
    """`inside` is its directory in the machine, `outside` the same seen from here."""

    machine: Machine
    name: str
    inside: Path

    @property
    def unit(self) -> str:
        return f"etl-{self.name}.service"

    @property
    def outside(self) -> Path:
        return self.machine.root / self.inside.relative_to("/")

    def drop_in(self, *settings: str) -> None:
        """Change the unit as an operator would, to have a test wait for seconds and not for minutes."""
        directory = self.machine.root / f"etc/systemd/system/{self.unit}.d"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "test.conf").write_text("\n".join(settings) + "\n")
        self.machine.check("systemctl", "daemon-reload")

    def show(self, name: str) -> str:
        return self.machine.show(self.unit, name)

    def until(self, name: str, wanted: Callable[[str], bool], patience_s: float = 30) -> str:
        """Wait for a property of the unit."""
        deadline = time.monotonic() + patience_s
        while not wanted(value := self.show(name)):
            assert time.monotonic() < deadline, f"{name} stays {value!r}"
            time.sleep(0.2)
        return value
