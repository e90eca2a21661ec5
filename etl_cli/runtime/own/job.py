"""What the worker of one member of an own source is given. Imports no Arrow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etl_cli.runtime.job import WatermarkMove
from etl_cli.runtime.ledger.ledger import TaskId
from etl_cli.runtime.sink.connect import Sink
from etl_cli.runtime.sink.shadow import Shadow

if TYPE_CHECKING:
    from etl_cli.runtime.job import Result, Watcher
    from etl_cli.runtime.kept import Connections


@dataclass(frozen=True)
class ExtractJob:
    """One member of one own source, in a form that travels to another process."""

    task: TaskId
    sink: Sink
    directory: Path
    """Where the etl.py is that declares the source."""
    application: str
    schema: str
    """The sink's schema, for a target that names none."""
    names: str
    """`fold` or `keep`."""
    pipeline: str
    config: str | None = None
    """The content of config.yaml that the run goes by, whatever the file holds by now."""
    attempt: int = 1
    member: Any = None
    params: Mapping[str, Any] = field(default_factory=dict)
    results: Mapping[str, Any] = field(default_factory=dict)
    watermark: str | None = None
    """Where earlier runs have come to, as the ledger keeps it; None = read everything."""
    mark: str | None = None
    """The same where the function is not given it, since everything is read: it never moves back."""
    move: WatermarkMove | None = None
    """The watermark that each chunk moves, where rows that come twice would be there twice."""
    shadow: Shadow | None = None
    members_share_keys: bool = False
    """Whether two members may bring the same row at the same time."""
    stream: int = 0

    def work(self, watcher: Watcher, connections: Connections) -> Result:
        """Run it, in a worker. Raises EtlError."""
        from etl_cli.runtime.own.stream import extract_member

        return extract_member(self, watcher, connections)
