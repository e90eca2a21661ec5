"""The supervisor's connection to the ledger, which may come and go."""

from __future__ import annotations

import selectors
from collections.abc import Callable
from typing import TypeVar

import psycopg
from psycopg import sql

from etl_cli.runtime.config.model import Config
from etl_cli.runtime.errors import EtlError, PlanError
from etl_cli.runtime.ledger.ledger import Ledger
from etl_cli.runtime.ledger.requests import CHANNEL
from etl_cli.runtime.sink.connect import Sink, SinkConnection, connect_sink

ANSWER_S = 15.0
"""How long a host may be silent before it is taken for gone."""

Answer = TypeVar("Answer")


class Link:
    """Connects when it is asked to; what fails because the sink is away is told by None, and the link is down.

    While it is up, `selector` calls `on_news` when somebody has asked for something, or the connection is lost.
    """

    def __init__(self, config: Config, selector: selectors.BaseSelector, on_news: Callable[[], None]) -> None:
        self._config = config
        self._selector = selector
        self._on_news = on_news
        self._connection: SinkConnection | None = None
        self._watched: int | None = None
        self.error: EtlError | None = None

    @property
    def is_up(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._connection is not None and not self._connection.closed

    @property
    def is_lost(self) -> bool:
        """Whether it was tried, and the sink is away."""
        return self.error is not None and not self.is_up

    def take(self, config: Config) -> None:
        """Give the connection up; the next one is by this configuration."""
        self.close()
        self._config = config
        self.error = None

    def connect(self) -> bool:
        """Try once. Raises PlanError where another pipeline has the name in this sink."""
        self.close()
        sink = _patient_enough(self._config)
        try:
            self._connection = connect_sink(sink, f"etl-cli {self._config.name} serve", attempts=1)
            ledger = Ledger(self._connection)
            self._connection.execute(sql.SQL(f"LISTEN {CHANNEL}"))
            ledger.register(self._config.name, self._config.id)
            self._watched = self._connection.fileno()
        except PlanError:
            raise
        except (psycopg.Error, EtlError) as error:
            self.close()
            self.error = error if isinstance(error, EtlError) else EtlError(str(error))
            return False
        self.error = None
        self._selector.register(self._watched, selectors.EVENT_READ, self._on_news)
        return True

    def heard(self) -> bool:
        """Read what has arrived; whether the pipeline is meant."""
        if self._connection is None:
            return False
        try:
            return any(n.payload == self._config.name for n in list(self._connection.notifies(timeout=0)))
        except psycopg.Error as error:
            self.error = EtlError(f"the sink has gone: {' '.join(str(error).split())}")
            self.close()
            return False

    def ask(self, question: Callable[[SinkConnection], Answer]) -> Answer | None:
        """Ask the ledger something; None where the sink is away."""
        if self._connection is None:
            return None
        try:
            return question(self._connection)
        except psycopg.Error as error:
            self.error = EtlError(f"the ledger did not answer: {' '.join(str(error).split())}")
            if self._connection.closed or self._connection.broken:
                self.close()
            return None

    def close(self) -> None:
        """Give the connection up."""
        if self._watched is not None:  # before its number goes to another connection or to a child's pipe
            self._selector.unregister(self._watched)
        self._watched = None
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def _patient_enough(config: Config) -> Sink:
    """The sink, where a host that has vanished does not hold up the supervisor's loop, and with it the watchdog."""
    retries = config.connection
    options = {"tcp_user_timeout": int(ANSWER_S * 1000), **config.sink.options}
    return Sink(
        config.sink.model_copy(update={"options": options}),
        retries.model_copy(update={"timeout": min(retries.timeout, ANSWER_S)}),
    )
