"""Which ODBC driver file serves pyodbc: the one that mssql-python's wheel brings, or the user's own."""

from __future__ import annotations

import ctypes
import platform
from functools import cache
from pathlib import Path

from etl_cli.runtime.errors import SourceError

SYSTEM_LIBRARIES = {"libltdl.so.7": "libltdl7", "libkrb5.so.3": "libkrb5-3", "libgssapi_krb5.so.2": "libgssapi-krb5-2"}
"""What the Microsoft driver loads from the system, and the Debian package that has it."""


def missing_libraries() -> list[str]:
    """The Debian packages of the libraries that the Microsoft driver wants and that are not here."""
    return [package for library, package in SYSTEM_LIBRARIES.items() if not _loads(library)]


@cache
def microsoft_driver() -> Path:
    """The file of the Microsoft ODBC driver in the installed wheel mssql-python-odbc.

    Raises SourceError where the wheel holds none for this machine.
    """
    import mssql_python_odbc

    libs = Path(mssql_python_odbc.get_libs_dir()) / "linux"
    machine = {"x86_64": "x86_64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    for family in (_family(), "debian_ubuntu", "rhel", "suse", "alpine"):
        found = sorted(libs.glob(f"{family}/{machine}/lib/libmsodbcsql*.so*"))
        if found:
            return found[-1]
    raise SourceError(
        f"mssql-python-odbc has no driver for {platform.machine()}",
        "install an ODBC driver and name it in source.driver",
    )


def uses_microsoft_driver(driver: str) -> bool:
    """Whether `source.driver` leaves the choice to us, which is when the Arrow reader serves."""
    return driver == "auto"


def is_freetds(driver: str) -> bool:
    """Whether the named driver is FreeTDS, whose keywords differ from Microsoft's."""
    return "tdsodbc" in driver.lower() or "freetds" in driver.lower()


def _family() -> str:
    try:
        names = platform.freedesktop_os_release()
    except OSError:
        return "debian_ubuntu"
    like = f"{names.get('ID', '')} {names.get('ID_LIKE', '')}"
    if "alpine" in like:
        return "alpine"
    if "suse" in like:
        return "suse"
    return "rhel" if any(word in like for word in ("rhel", "fedora", "centos")) else "debian_ubuntu"


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
