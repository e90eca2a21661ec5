"""`Pipeline`: what an etl.py declares, and what it runs when it is executed."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from etl_cli.runtime.config import Config


class Pipeline:
    """A pipeline directory: its config.yaml, its .env and the code of its etl.py."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @classmethod
    def load(cls, file: str) -> Pipeline:
        """The pipeline whose etl.py is `file`; nothing is read before it is needed."""
        return cls(Path(file).resolve().parent)

    @cached_property
    def config(self) -> Config:
        """The validated configuration. Raises ConfigError."""
        from etl_cli.runtime.config import load_config

        return load_config(self.directory)

    def main(self) -> NoReturn:
        """Run the command that the program was called with: `python etl.py check`."""
        from etl_cli.runtime.main import main

        main(self.directory)
