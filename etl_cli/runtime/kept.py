"""One open connection that is used again for the next task, where that wants the same one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any


class Kept:
    """Keeps the last connection; a task that failed on it leaves none behind."""

    def __init__(self) -> None:
        self._key: Hashable = None
        self._connection: Any = None

    @contextmanager
    def use(self, key: Hashable, opened: Callable[[], Any], greeted: Callable[[Any], object]) -> Iterator[Any]:
        """The connection for `key`: the kept one if it still answers `greeted`, else a new one."""
        if key != self._key or not self._answers(greeted):
            self.close()
            self._connection, self._key = opened(), key
            greeted(self._connection)
        try:
            yield self._connection
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close what is kept. A broken connection cannot be closed in order, and need not be."""
        if self._connection is not None:
            with contextlib.suppress(Exception):
                self._connection.close()
        self._connection, self._key = None, None

    def _answers(self, greeted: Callable[[Any], object]) -> bool:
        if self._connection is None:
            return False
        try:
            greeted(self._connection)
        except Exception:
            return False
        return True


class Connections:
    """What a worker keeps between tasks."""

    def __init__(self) -> None:
        self.sink = Kept()
        self.source = Kept()

    def close(self) -> None:
        """Close both sides."""
        self.sink.close()
        self.source.close()
