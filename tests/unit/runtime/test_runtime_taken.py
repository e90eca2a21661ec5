"""The configuration that a service goes by."""

from __future__ import annotations

from pathlib import Path

import pytest

from etl_cli.runtime.errors import ConfigError
from etl_cli.runtime.service.taken import TakenConfig

SINK = "sink: {user: etl_user, database: sinkdb}\n"


def write(directory: Path, text: str) -> None:
    (directory / "config.yaml").write_text(text)


def test_a_service_keeps_its_name_and_its_sink(tmp_path: Path) -> None:
    taken = TakenConfig(tmp_path)
    write(tmp_path, f"name: orders\nid: '0123abcd'\n{SINK}")
    assert taken.read().name == "orders"
    write(tmp_path, f"name: items\nid: '0123abcd'\n{SINK}")
    with pytest.raises(ConfigError, match=r"changed from orders \(0123abcd\) to items \(0123abcd\)"):
        taken.read()
    write(tmp_path, "name: orders\nid: '0123abcd'\n")
    with pytest.raises(ConfigError, match="no sink is configured"):
        taken.read()
    assert taken.config.has_sink
    write(tmp_path, f"name: orders\nid: '0123abcd'\nschedule: '@daily'\n{SINK}")
    assert taken.read().schedule == "@daily"
