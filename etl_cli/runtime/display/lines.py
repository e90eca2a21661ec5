"""Progress as a line now and then, for pipes and the journal."""

from __future__ import annotations

import contextlib
import sys
from typing import TextIO

from etl_cli.runtime.display.news import News, sums
from etl_cli.runtime.progress import Progress

INTERVAL_S = 10.0


class LineDisplay:
    """Prints phases and finished tasks when they happen, and the sums every INTERVAL_S seconds."""

    def __init__(self, stream: TextIO | None = None, interval_s: float = INTERVAL_S) -> None:
        self._stream = stream or sys.stdout
        self._interval_s = interval_s
        self._news = News()
        self._phase = ""
        self._last = 0.0

    def __call__(self, progress: Progress) -> None:
        """Look at the progress; print what is new."""
        if progress.phase != self._phase:
            self._phase, self._last = progress.phase, progress.clock()
        for news in self._news.look(progress):
            self._print(news.text)
        if progress.clock() - self._last >= self._interval_s:
            self._last = progress.clock()
            self._print(sums(progress))

    def _print(self, text: str) -> None:
        with contextlib.suppress(OSError):  # nobody reads any more: no reason to end a run
            print(text, file=self._stream, flush=True)
