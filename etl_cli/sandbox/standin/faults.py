"""Faults to order: what goes wrong, where, how many times. Thread-safe; the control socket speaks the same names."""

from __future__ import annotations

import itertools
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from etl_cli.sandbox.standin.errors import (
    ConnectionClosedError,
    SqlError,
    deadlock,
    invalid_object,
    lock_timeout,
    login_failed,
    permission_denied,
)
from etl_cli.sandbox.standin.results import RowBlock

ANY_TABLE = "*"
PIECE_OF_A_ROW = b"\xd1\x04"
SLICES_PER_S = 20  # slow rows leave in so many portions a second
MESSAGES = {
    40613: "Database is not currently available. Please retry the connection later.",
    40501: "The service is currently busy. Retry the request after 10 seconds.",
    49918: "Cannot process request. Not enough resources to process request.",
    10928: "Resource ID : 1. The request limit for the database has been reached.",
    3958: "Transaction aborted when accessing versioned row. Requested versioned row was not found.",
    3966: "Transaction is rolled back when accessing version store.",
    3967: "Insufficient space in tempdb to hold row versions.",
}


class OrderedError(SqlError):
    """An error that a fault ordered: it always ends the batch and the transaction."""

    @property
    def rolls_back(self) -> bool:
        """Always."""
        return True

    @property
    def ends_batch(self) -> bool:
        """Always."""
        return True


@dataclass
class Order:
    """One fault. times: how often it may still fire (None: for ever); fired: how often it did.

    kind: rst and fin cut the link, stall waits seconds, error raises number, each after_rows rows of a scan
    of table; slow sends rows_per_s; refuse turns logins away with number (0: the socket closes).
    """

    kind: str
    table: str = ANY_TABLE
    after_rows: int = 0
    seconds: float = 0.0
    number: int = 0
    rows_per_s: float = 0.0
    within_row: bool = False
    times: int | None = 1
    until: float | None = None
    fired: int = 0
    id: int = field(default_factory=itertools.count(1).__next__)

    def matches(self, table: str) -> bool:
        """Whether a scan of schema.table is meant."""
        wanted, full = self.table.lower(), table.lower()
        return bool(full) and wanted in (ANY_TABLE, full, full.rpartition(".")[2])

    @property
    def is_alive(self) -> bool:
        """Whether it may fire once more."""
        return (self.times is None or self.times > 0) and (self.until is None or time.monotonic() < self.until)


class Faults:
    """The orders of one server."""

    def __init__(self) -> None:
        self._latch = threading.Lock()
        self._orders: list[Order] = []
        self._running = threading.Event()
        self._running.set()

    # --- ordering ----------------------------------------------------------------------------------------------

    def drop(
        self, table: str, *, after_rows: int, how: str = "rst", within_row: bool = False, times: int | None = 1
    ) -> Order:
        """Cut the link after rows of a scan: rst discards rows on their way, fin delivers them.

        within_row: a piece of the next row goes out too. Where the last packet ends with a row, mssql-python takes
        the cut for the end of the rows (measured with 1.16); where a row is torn, it tells the error.
        """
        if how not in ("rst", "fin"):
            raise ValueError(f"how is {how}, not rst or fin")
        return self._add(Order(how, table, after_rows, within_row=within_row, times=times))

    def stall(self, table: str, *, after_rows: int, seconds: float, times: int | None = 1) -> Order:
        """Send nothing for so long after rows of a scan."""
        return self._add(Order("stall", table, after_rows, seconds, times=times))

    def error(self, table: str, number: int = 1205, *, after_rows: int, times: int | None = 1) -> Order:
        """Raise an error after rows of a scan and roll the transaction back."""
        return self._add(Order("error", table, after_rows, number=number, times=times))

    def slow_rows(self, table: str, *, rows_per_s: float, times: int | None = None) -> Order:
        """Send the rows of a table's scans no faster than this."""
        return self._add(Order("slow", table, rows_per_s=rows_per_s, times=times))

    def refuse_logins(self, number: int = 0, *, seconds: float | None = None, times: int | None = None) -> Order:
        """Refuse logins: 0 closes the socket, 18456 and 40613 (or any number) are said to the client."""
        until = None if seconds is None else time.monotonic() + seconds
        return self._add(Order("refuse", number=number, times=times, until=until))

    def _add(self, order: Order) -> Order:
        with self._latch:
            self._orders.append(order)
        return order

    def clear(self) -> None:
        """Forget all orders, and go on if paused."""
        with self._latch:
            self._orders.clear()
        self.resume()

    def listed(self) -> list[dict[str, Any]]:
        """Return the orders as plain data, with how often each has fired."""
        with self._latch:
            return [{key: value for key, value in asdict(order).items() if key != "until"} for order in self._orders]

    def pause(self) -> None:
        """Hold everything: no statement starts, no row leaves, no login is answered."""
        self._running.clear()

    def resume(self) -> None:
        """Go on."""
        self._running.set()

    # --- firing ------------------------------------------------------------------------------------------------

    def wait_while_paused(self) -> None:
        """Return when nothing is held."""
        self._running.wait()

    def _take(self, order: Order) -> bool:
        """Use an order up by one, unless it is spent or was cleared."""
        with self._latch:
            if not order.is_alive or order not in self._orders:
                return False
            order.fired += 1
            if order.times is not None:
                order.times -= 1
            return True

    def _alive(self, *kinds: str) -> list[Order]:
        with self._latch:
            return [order for order in self._orders if order.kind in kinds and order.is_alive]

    def refuses_connection(self) -> bool:
        """Whether a new connection is closed at once."""
        self.wait_while_paused()
        return any(self._take(order) for order in self._alive("refuse") if order.number == 0)

    def at_login(self, user: str) -> None:
        """Raise the error with which a login is refused."""
        for order in self._alive("refuse"):
            if order.number and self._take(order):
                raise login_failed(user) if order.number == 18456 else _error(order.number, 0)

    def watch(self, table: str) -> Watch:
        """Return what accompanies one scan."""
        orders = [order for order in self._alive("rst", "fin", "stall", "error", "slow") if order.matches(table)]
        return Watch(self, orders)


@dataclass
class Link:
    """What a fault may do to a connection."""

    socket: socket.socket
    spid: int
    write: Callable[[bytes], None]
    flush: Callable[[], None]
    sleep: Callable[[float], None]


class Watch:
    """Cuts the blocks of one scan at the rows where something is to happen, and lets it happen."""

    def __init__(self, faults: Faults, orders: list[Order]) -> None:
        self._faults = faults
        self._slow = next((order for order in orders if order.kind == "slow"), None)
        self._due = sorted((order for order in orders if order.kind != "slow"), key=lambda order: order.after_rows)

    def parts(self, blocks: Iterable[RowBlock], link: Link) -> Iterator[RowBlock]:
        """Yield the rows; ConnectionClosedError or SqlError where a fault says so."""
        sent = 0
        self._act(sent, link)
        for block in blocks:
            start = 0
            while start < block.rows:
                stop = min(block.rows, start + self._portion(sent))
                yield block.slice(start, stop)
                sent += stop - start
                self._pace(stop - start, link)
                start = stop
                self._act(sent, link)

    def _portion(self, sent: int) -> int:
        """Return how many rows may leave before something is due."""
        portion = self._due[0].after_rows - sent if self._due else 1 << 62
        if self._slow is not None:
            portion = min(portion, max(int(self._slow.rows_per_s / SLICES_PER_S), 1))
        return portion

    def _pace(self, rows: int, link: Link) -> None:
        if self._slow is not None and self._slow.is_alive:
            link.flush()
            link.sleep(rows / self._slow.rows_per_s)

    def _act(self, sent: int, link: Link) -> None:
        while self._due and self._due[0].after_rows <= sent:
            order = self._due.pop(0)
            if self._faults._take(order):
                if order.within_row:
                    link.write(PIECE_OF_A_ROW)
                link.flush()
                _fire(order, link)


def _fire(order: Order, link: Link) -> None:
    if order.kind == "stall":
        link.sleep(order.seconds)
    elif order.kind == "error":
        raise _error(order.number, link.spid)
    elif order.kind == "rst":
        link.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise ConnectionClosedError
    else:
        link.socket.shutdown(socket.SHUT_WR)
        raise ConnectionClosedError


def _error(number: int, spid: int) -> OrderedError:
    known = {
        208: invalid_object("dbo.ordered"),
        229: permission_denied("SELECT", "ordered", "sourcedb", "dbo"),
        1205: deadlock(spid),
        1222: lock_timeout(),
    }.get(number)
    if known is not None:
        return OrderedError(number, known.message, severity=known.severity, state=known.state)
    return OrderedError(number, MESSAGES.get(number, f"stand-in: ordered error {number}."), severity=16)
