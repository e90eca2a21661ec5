"""Which rows of a task a stream reads: a part of its scan's order. Pure; kept in the ledger as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from etl_cli.runtime.source.position import Position


@dataclass(frozen=True)
class Window:
    """Bounds along the order of a scan, fixed before it begins; each is the server's own text.

    The rows after `after`, up to and with `up_to`; of an incremental mode those whose cursor is at least
    `floor` (the watermark less the lookback) and at most `bound`; of mode changes those that changed after
    version `since`, up to and with `version`.
    """

    after: Position = ()
    up_to: Position = ()
    floor: str | None = None
    bound: str | None = None
    since: int | None = None
    version: int | None = None

    def as_json(self) -> dict[str, Any]:
        """For the ledger; bounds that are not set are left out."""
        return {key: value for key, value in asdict(self).items() if value not in ((), None)}

    @staticmethod
    def of_json(data: Mapping[str, Any]) -> Window:
        """The inverse of `as_json`."""
        places = {key: tuple(data[key]) for key in ("after", "up_to") if key in data}
        return Window(**{**data, **places})


ALL_ROWS = Window()
