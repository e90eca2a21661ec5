"""Runs a command that looks and ends: it is over as soon as it has said what it had to."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Sequence

import typer

_RARELY = 100_000
"""New objects between two looks for garbage: importing the libraries makes some 50,000, none of which is any."""


def run_short_lived(app: typer.Typer, program: str, args: Sequence[str] | None = None) -> None:
    """Run the app and end the process, without taking its modules down: that takes as long as the command itself.

    `args` are those of the command line, where None.
    """
    gc.set_threshold(_RARELY)
    try:
        app(args=args, prog_name=program)
    except SystemExit as ended:
        if isinstance(ended.code, str) or threading.active_count() > 1:
            raise
        code = ended.code or 0
    else:
        return
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not stream.closed:
                stream.flush()
    except BrokenPipeError:  # nobody reads on
        code = code or 1
    except OSError as error:
        os.write(2, f"{program}: {error.strerror}\n".encode())
        code = code or 1
    os._exit(code)
