"""The last states, in a small JSON file of the monitor's state directory, written in one step."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from etl_cli.monitor.changes import Remembered
from etl_cli.runtime.errors import EtlError
from etl_cli.runtime.health import STATES

FILE = "states.json"


@dataclass
class Memory:
    """By the pipeline's directory; `summary_at` is when the last summary was written."""

    pipelines: dict[str, Remembered] = field(default_factory=dict)
    summary_at: datetime | None = None


def recall(directory: Path) -> tuple[Memory, str]:
    """What the last look left, and why it left nothing that can be used: the next look is then a first one."""
    try:
        data = json.loads((directory / FILE).read_text(encoding="utf-8"))
        pipelines = {place: _remembered(entry) for place, entry in data["pipelines"].items()}
        return Memory(pipelines, _moment(data["summary_at"])), ""
    except FileNotFoundError:
        return Memory(), ""
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return (
            Memory(),
            f"{directory / FILE} cannot be read ({error}): every pipeline is looked at as for the first time",
        )


def keep(directory: Path, memory: Memory) -> None:
    """Write it. Raises EtlError where that cannot be: what is told would be told again and again."""
    data = {
        "summary_at": memory.summary_at.isoformat() if memory.summary_at else None,
        "pipelines": {place: _entry(one) for place, one in memory.pipelines.items()},
    }
    temporary = directory / f".{FILE}.new"
    try:
        with temporary.open("w", encoding="utf-8") as stream:
            json.dump(data, stream, indent=1)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(directory / FILE)
    except OSError as error:
        raise EtlError(
            f"{directory / FILE} cannot be written ({error.strerror})", "make room, or give it to the monitor's user"
        ) from error


def _entry(one: Remembered) -> dict[str, Any]:
    return {"state": one.state, "since": one.since.isoformat(), "told": one.told, "owed": one.owed}


def _remembered(entry: Mapping[str, Any]) -> Remembered:
    if entry["state"] not in STATES:
        raise ValueError(f"{entry['state']!r} is not a state")
    return Remembered(entry["state"], datetime.fromisoformat(entry["since"]), bool(entry["told"]), bool(entry["owed"]))


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
