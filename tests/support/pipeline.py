"""A pipeline directory for a test, and the command line on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from etl_cli.runtime.config import load_config
from etl_cli.runtime.outcome import Outcome
from etl_cli.runtime.progress import Progress
from etl_cli.runtime.run import run_pipeline


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """Its output as JSON."""
        return json.loads(self.out)


@dataclass(frozen=True)
class PipelineDirectory:
    """A directory with a config.yaml."""

    path: Path

    def run(self, progress: Progress | None = None) -> Outcome:
        """Run it in this process."""
        return run_pipeline(load_config(self.path), progress or Progress())

    def cli(self, verb: str, *options: str, environment: dict[str, str] | None = None) -> Finished:
        """Run `etl-cli VERB DIRECTORY OPTIONS` as a user does."""
        command = self.command(verb, *options)
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=120, env={**os.environ, **(environment or {})}, check=False
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    def state(self, verb: str, *options: str) -> Finished:
        """Run `etl-cli state VERB DIRECTORY OPTIONS`."""
        program = "from etl_cli.cli.etl import main; main()"
        command = [sys.executable, "-c", program, "state", verb, str(self.path), *options]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, check=False
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    def command(self, verb: str, *options: str) -> list[str]:
        """The command line."""
        program = "from etl_cli.cli.etl import main; main()"
        return [sys.executable, "-c", program, verb, str(self.path), *options]

    def change(self, **keys: Any) -> None:
        """Change keys of config.yaml; a block is merged."""
        config = yaml.safe_load((self.path / "config.yaml").read_text())
        for key, value in keys.items():
            config[key] = {**config[key], **value} if isinstance(value, dict) and key in config else value
        write_config(self.path, config)


def write_config(path: Path, config: dict[str, Any]) -> None:
    """Write config.yaml."""
    (path / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
