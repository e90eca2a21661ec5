"""How a run is told to end before it is done, in its own process: stopped, to be resumed, or cancelled for good."""

from __future__ import annotations

import signal
from types import FrameType

CANCEL = signal.SIGUSR1
"""What a service sends to the process of a run that somebody cancels; a stop is SIGTERM, or SIGINT."""


class CancelledRunError(KeyboardInterrupt):
    """Somebody has cancelled the run; like a Ctrl-C it is no error that the run may handle by itself."""


def hear() -> None:
    """Raise KeyboardInterrupt in the main thread for a stop, CancelledRunError for a cancel."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(CANCEL, _cancelled)


def _cancelled(number: int, frame: FrameType | None) -> None:
    raise CancelledRunError
