"""Keeps the config.yaml that the service goes by, and says which it is: whoever edits it sees whether it was taken.

What holds is kept as text: an attempt that read the file itself would go by one that nobody has taken over yet.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path

from etl_cli.runtime.config import Config, load_config
from etl_cli.runtime.config.load import passwords_of
from etl_cli.runtime.errors import ConfigError, EtlError
from etl_cli.runtime.redact import redact, secrets_in

FILE = "config.json"


class TakenConfig:
    """Written to $RUNTIME_DIRECTORY, replaced in one step; nothing is written where there is none."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read: bytes | None = None
        self.text = ""
        """The content that holds."""
        place = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
        self._file = Path(place) / FILE if place else None
        self._taken: str | None = None
        self._config: Config | None = None
        self._secrets: set[str] = set()

    @property
    def config(self) -> Config:
        """The configuration that holds; there is one from the first `read` on."""
        assert self._config is not None
        return self._config

    def read(self) -> Config:
        """The configuration in the file as it is now. Raises ConfigError."""
        self._read, text = None, None
        with contextlib.suppress(OSError, UnicodeDecodeError):  # load_config says it better
            self._read = (self._directory / "config.yaml").read_bytes()
            text = self._read.decode()
        try:
            config = load_config(self._directory, text=text)
            self._refuse_what_no_service_can_take(config)
        except EtlError:
            self._secrets |= passwords_of(self._directory)  # those of now, which its text may hold
            raise
        self.text = text or ""
        self._config = config
        self._secrets = secrets_in(config)
        return config

    def _refuse_what_no_service_can_take(self, config: Config) -> None:
        if not config.has_sink:
            wrong = "a service keeps its clock in the ledger, and no sink is configured"
            raise ConfigError(wrong, "name the Postgres database under `sink`")
        now = self._config
        if now is not None and (config.name, config.id) != (now.name, now.id):
            raise ConfigError(
                f"name and id were changed from {now.name} ({now.id}) to {config.name} ({config.id}), which would be "
                "another pipeline's ledger and unit",
                f"change them back, or stop {now.name} first and start {config.name}",
            )

    def redacted(self, told: object) -> str:
        """A text without the secrets of the configuration; empty for None."""
        return redact(str(told), self._secrets) if told else ""

    def took(self) -> None:
        """What was read last holds."""
        self._taken = self._digest()
        self._write(None, None)

    def refused(self, problem: str) -> None:
        """What was read last is wrong; the one before holds."""
        self._write(self._digest(), problem)

    def _digest(self) -> str | None:
        return hashlib.sha256(self._read).hexdigest() if self._read is not None else None

    def _write(self, refused: str | None, problem: str | None) -> None:
        if self._file is None:
            return
        told = {"taken": self._taken, "refused": refused, "problem": problem}
        partial = self._file.with_suffix(".new")
        with contextlib.suppress(OSError):  # whoever waits for it says so
            partial.write_text(json.dumps(told))
            partial.chmod(0o644)  # the unit's umask would keep it from the operator
            partial.replace(self._file)
