"""Connections to a shard: pyodbc for control and for other drivers, mssql-python for Arrow.

Both are opened the same way: the retries of `connection`, then the session's settings.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import pyodbc
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from etl_cli.runtime.config.databases import ConnectionRetries, ShardConfig, SourceConfig, plain
from etl_cli.runtime.source.driver import is_freetds, microsoft_driver, uses_microsoft_driver
from etl_cli.runtime.source.errors import is_transient, translate

APPLICATION = "etl-cli"

Connection = TypeVar("Connection")


@dataclass(frozen=True)
class Shard:
    """A shard with all that it takes to reach it."""

    config: ShardConfig
    source: SourceConfig
    retries: ConnectionRetries

    @property
    def name(self) -> str:
        """The shard's name, as in the shard column."""
        return self.config.name

    @property
    def database(self) -> str:
        """The shard's database: its own or the source's."""
        return self.config.database or self.source.database

    @property
    def address(self) -> str:
        """`host:port`, for messages."""
        return f"{self.config.host}:{self.config.port}"


def connect_odbc(shard: Shard, *, attempts: int | None = None) -> pyodbc.Connection:
    """A control connection, autocommitting, with the session's settings made.

    Raises SourceError after the tries that `connection` allows (or `attempts`), at once for what
    another try cannot mend (a wrong password, an unknown database).
    """

    def opened() -> pyodbc.Connection:
        _probe(shard)
        connection = pyodbc.connect(odbc_string(shard), timeout=math.ceil(shard.retries.timeout), autocommit=True)
        connection.timeout = math.ceil(shard.source.query_timeout or 0)
        return connection

    return _with_retries(shard, opened, attempts)


def connect_arrow(shard: Shard) -> Any:
    """A connection of mssql-python, for cursors with `arrow_batch`. Raises SourceError as above."""
    import mssql_python

    mssql_python.pooling(enabled=False)

    def opened() -> Any:
        return mssql_python.connect(
            arrow_string(shard), autocommit=True, timeout=math.ceil(shard.source.query_timeout or 0)
        )

    return _with_retries(shard, opened, None)


def session_statement(shard: Shard) -> str:
    """What every reading session is told first: wait for locks no longer than `source.lock_timeout`."""
    return f"SET LOCK_TIMEOUT {int(shard.source.lock_timeout * 1000)}"


def odbc_string(shard: Shard) -> str:
    """The ODBC connection string, for Microsoft's driver or for FreeTDS. Holds the password."""
    driver = shard.source.driver
    if uses_microsoft_driver(driver):
        driver = str(microsoft_driver())
    if is_freetds(driver):
        keywords = {"DRIVER": driver, "SERVER": shard.config.host, "PORT": str(shard.config.port), "TDS_Version": "7.4"}
        keywords |= {"ClientCharset": "UTF-8", "Encryption": "require" if shard.source.encrypt else "off"}
    else:
        keywords = {"DRIVER": driver, "SERVER": f"{shard.config.host},{shard.config.port}"} | _encryption(shard)
    return _joined(keywords | _login(shard) | {"APP": APPLICATION} | _options(shard))


def arrow_string(shard: Shard) -> str:
    """mssql-python's connection string; it knows its driver itself. Holds the password."""
    keywords = {"SERVER": f"{shard.config.host},{shard.config.port}"} | _encryption(shard)
    return _joined(keywords | _login(shard) | _options(shard))


def _probe(shard: Shard) -> None:
    """Fail at once where nothing listens; the driver itself would go on trying until its timeout.

    ODBC's driver manager also lets one connection be made at a time, so one dead shard would hold up all.
    """
    with socket.create_connection((shard.config.host, shard.config.port), timeout=shard.retries.timeout):
        return


def _encryption(shard: Shard) -> dict[str, str]:
    encrypt = shard.source.encrypt
    return {
        "Encrypt": encrypt if isinstance(encrypt, str) else _yes(encrypt),
        "TrustServerCertificate": _yes(shard.source.trust_server_certificate),
    }


def _login(shard: Shard) -> dict[str, str]:
    user = shard.config.user or shard.source.user
    password = shard.config.password or shard.source.password
    login = {"DATABASE": shard.database}
    if user is not None:
        login["UID"] = user
    if password is not None:
        login["PWD"] = password.get_secret_value()
    return login


def _options(shard: Shard) -> dict[str, str]:
    return {k: _yes(v) if isinstance(v, bool) else plain(v) for k, v in shard.source.options.items()}


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _joined(keywords: dict[str, str]) -> str:
    """`KEY={value};`, with braces where a value needs them (ODBC: a closing brace is doubled)."""
    return "".join(f"{key}={_braced(value)};" for key, value in keywords.items())


def _braced(value: str) -> str:
    special = (
        any(letter in value for letter in "[]{}(),;?*=!@ ") and not value.replace(",", "").replace(".", "").isalnum()
    )
    return "{" + value.replace("}", "}}") + "}" if special else value


def _with_retries(shard: Shard, opened: Callable[[], Connection], attempts: int | None) -> Connection:
    tries = Retrying(
        stop=stop_after_attempt(attempts or 1 + shard.retries.retries),
        wait=wait_exponential_jitter(
            multiplier=shard.retries.retry_delay, max=30, jitter=shard.retries.retry_delay / 4
        ),
        retry=retry_if_exception(is_transient),
        reraise=True,
    )
    try:
        return tries(opened)
    except Exception as error:
        raise translate(error, shard.name, f"connecting to {shard.address}") from error
