"""What the server that workers are forked from imports, once for all of them.

Frozen objects are left alone by the garbage collector, so that its marks do not copy the pages that
workers share.
"""

from __future__ import annotations

import contextlib
import gc

from etl_cli.runtime import stream

with contextlib.suppress(Exception):  # a host that reads through another driver may lack what this one needs
    import mssql_python

gc.collect()
gc.freeze()

__all__ = ["mssql_python", "stream"]
