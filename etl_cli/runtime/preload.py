"""What the server that workers are forked from imports, once for all of them.

Frozen objects are left alone by the garbage collector, so that its marks do not copy the pages that
workers share.
"""

from __future__ import annotations

import gc

import mssql_python

from etl_cli.runtime import stream

gc.collect()
gc.freeze()

__all__ = ["mssql_python", "stream"]
