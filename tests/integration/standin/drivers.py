"""Connections to a stand-in through the three real drivers."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import mssql_python
import pyodbc

from etl_cli.sandbox.standin import StandInProcess

FREETDS = "/usr/lib/x86_64-linux-gnu/odbc/libtdsodbc.so"
LOGIN_S = 10

pyodbc.pooling = False
mssql_python.pooling(enabled=False)


def microsoft_driver() -> str:
    """The driver file that mssql-python-odbc installs."""
    spec = find_spec("mssql_python_odbc")
    assert spec is not None
    assert spec.origin is not None
    libraries = Path(spec.origin).parent / "libs" / "linux"
    return str(next((libraries / "debian_ubuntu").glob("*/lib/libmsodbcsql*")))


class Drivers:
    """Connects to a stand-in through each driver; what was opened is closed at the end of the test."""

    def __init__(self, server: StandInProcess, stack: ExitStack) -> None:
        self.server = server
        self._stack = stack

    def _kept(self, connection: Any) -> Any:
        """Close it at the end of the test, unless the test or a fault has done so."""

        def close() -> None:
            with suppress(pyodbc.Error, mssql_python.Error):
                connection.close()

        self._stack.callback(close)
        return connection

    def odbc(self, *, autocommit: bool = True, encrypt: str = "no", **options: str) -> pyodbc.Connection:
        """pyodbc with Microsoft's driver."""
        options = {"Encrypt": encrypt, "TrustServerCertificate": "yes", **options}
        if encrypt == "strict":
            del options["TrustServerCertificate"]
        text = self.server.connection_string(microsoft_driver(), **options)
        return self._kept(pyodbc.connect(text, autocommit=autocommit, timeout=LOGIN_S))

    def freetds(self, *, autocommit: bool = True, **options: str) -> pyodbc.Connection:
        """pyodbc with FreeTDS."""
        server = self.server
        parts = {"DRIVER": FREETDS, "SERVER": server.host, "PORT": str(server.port), "UID": server.user,
                 "PWD": server.password, "DATABASE": server.database, "TDS_Version": "7.4", **options}  # fmt: skip
        text = ";".join(f"{key}={value}" for key, value in parts.items())
        return self._kept(pyodbc.connect(text, autocommit=autocommit, timeout=LOGIN_S))

    def mssql(self, *, autocommit: bool = True, encrypt: str = "no", **options: str) -> Any:
        """mssql-python."""
        server = self.server
        parts = {"SERVER": f"{server.host},{server.port}", "UID": server.user, "PWD": server.password,
                 "DATABASE": server.database, "Encrypt": encrypt, "TrustServerCertificate": "yes",
                 **options}  # fmt: skip
        text = ";".join(f"{key}={value}" for key, value in parts.items())
        return self._kept(mssql_python.connect(text, autocommit=autocommit))


def number_of(error: pyodbc.Error) -> int:
    """The number that Microsoft's driver puts behind the text in brackets."""
    text = str(error.args[1])
    return next(int(part.split(")")[0]) for part in text.split("(")[::-1] if part.split(")")[0].lstrip("-").isdigit())
