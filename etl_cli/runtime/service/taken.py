"""Says which config.yaml the service goes by: whoever edits it sees whether it was taken over."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path

FILE = "config.json"


class TakenConfig:
    """Written to $RUNTIME_DIRECTORY, replaced in one step; nothing is written where there is none."""

    def __init__(self, directory: Path) -> None:
        self._source = directory / "config.yaml"
        place = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
        self._file = Path(place) / FILE if place else None
        self._taken: str | None = None

    def took(self) -> None:
        """The file as it is now holds."""
        self._taken = self._digest()
        self._write(None, None)

    def refused(self, problem: str) -> None:
        """The file as it is now is wrong; the one before holds."""
        self._write(self._digest(), problem)

    def _digest(self) -> str | None:
        try:
            return hashlib.sha256(self._source.read_bytes()).hexdigest()
        except OSError:
            return None

    def _write(self, refused: str | None, problem: str | None) -> None:
        if self._file is None:
            return
        told = {"taken": self._taken, "refused": refused, "problem": problem}
        partial = self._file.with_suffix(".new")
        with contextlib.suppress(OSError):  # whoever waits for it says so
            partial.write_text(json.dumps(told))
            partial.chmod(0o644)  # the unit's umask would keep it from the operator
            partial.replace(self._file)
