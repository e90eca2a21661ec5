"""A booted systemd for the module, and pipelines in it whose interpreter is a stand-in of `serve`."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.systemd import host
from tests.systemd.installed import InstalledPipeline
from tests.systemd.machine import REPOSITORY, Machine, booted, cannot_boot

SECRET = "s3cret-of-the-sink"
_INTERPRETER = """#!/bin/sh
# what the unit starts, or what manage-pipeline asks the interpreter
here=/opt/standin
case "$*" in
    "-P -m etl_cli.runtime serve "*) for last; do :; done; exec /usr/bin/python3 "$here/standin_serve.py" "$last" ;;
    *) PYTHONPATH="$here" exec /usr/bin/python3 "$@" ;;
esac
"""
_CONFIG = """# {name}: what a person wrote stays
name: {name}
id: "{id:08x}"
schedule: "@daily"              # when
timezone: Europe/Berlin
stop_grace: 5s
source:
  user: sa
  password: ${{SOURCE_DB_PASSWORD}}
  database: shop
  shards: [{{name: shard1, host: 127.0.0.1, port: 1}}]
sink: {{host: 127.0.0.1, port: 1, user: etl, password: "${{SINK_DB_PASSWORD}}", database: none}}
tables:
  - source: dbo.orders          # the only one
"""


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    why = cannot_boot()
    if why:
        pytest.skip(why)
    with booted(host.shown()) as machine:
        host.add_user(machine)
        library = machine.root / "opt/standin"
        (library / "etl_cli").mkdir(parents=True)
        shutil.copy(REPOSITORY / "etl_cli" / "__init__.py", library / "etl_cli")
        shutil.copy(Path(__file__).with_name("standin_serve.py"), library)
        yield machine


@dataclass(frozen=True)
class Pipeline(InstalledPipeline):
    """One whose `serve` is a stand-in."""

    def behave(self, how: str) -> None:
        """From its next start on."""
        (self.outside / "behaviour").write_text(how)

    def seen(self) -> Any:
        """What the service saw when it started."""
        return json.loads((self.machine.root / f"var/lib/etl/{self.name}/seen.json").read_text())


@pytest.fixture
def new_pipeline(machine: Machine) -> Iterator[Callable[..., Pipeline]]:
    made: list[Pipeline] = []

    def make(directory: str | None = None) -> Pipeline:
        number = next(_NUMBERS)
        name = f"orders-{number}"
        inside = Path(directory or f"/etc/etl/pipelines/{name}")
        pipeline = Pipeline(machine, name, inside)
        _write(pipeline, number)
        made.append(pipeline)
        return pipeline

    yield make
    for pipeline in made:
        machine.run("systemctl", "disable", "--now", pipeline.unit)
        for path in (f"etc/systemd/system/{pipeline.unit}", f"etc/systemd/system/{pipeline.unit}.d"):
            target = machine.root / path
            shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
        shutil.rmtree(pipeline.outside, ignore_errors=True)
    machine.check("systemctl", "daemon-reload")


@pytest.fixture
def pipeline(new_pipeline: Callable[..., Pipeline]) -> Pipeline:
    return new_pipeline()


def _write(pipeline: Pipeline, number: int) -> None:
    outside = pipeline.outside
    program = outside / ".venv" / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.write_text(_INTERPRETER)
    program.chmod(0o755)
    (outside / "config.yaml").write_text(_CONFIG.format(name=pipeline.name, id=number))
    (outside / "etl.py").write_text("")
    (outside / ".env").write_text(f"SOURCE_DB_PASSWORD=another-secret\nSINK_DB_PASSWORD='{SECRET}'\n")
    (outside / ".env").chmod(0o600)


_NUMBERS = itertools.count(1)
