"""One connection: login, then message after message until the client goes."""

from __future__ import annotations

import logging
import socket
import struct
from typing import TYPE_CHECKING

from etl_cli.sandbox.standin import rpc
from etl_cli.sandbox.standin import types as t
from etl_cli.sandbox.standin.engine import Engine
from etl_cli.sandbox.standin.errors import CancelledError, ConnectionClosedError, SqlError
from etl_cli.sandbox.standin.faults import Link
from etl_cli.sandbox.standin.reply import Reply
from etl_cli.sandbox.standin.results import ResultSet
from etl_cli.sandbox.standin.session import Session
from etl_cli.sandbox.standin.sql import ast
from etl_cli.sandbox.standin.sql.statements import parse_batch
from etl_cli.sandbox.standin.wire import packets, tokens
from etl_cli.sandbox.standin.wire.login import Login, open_channel
from etl_cli.sandbox.standin.wire.packets import Channel, Message
from etl_cli.sandbox.standin.wire.transport import SocketTransport
from etl_cli.sandbox.standin.wire.values import encoder

if TYPE_CHECKING:
    from etl_cli.sandbox.standin.server import StandIn

logger = logging.getLogger(__name__)
TRANSACTION_EVENTS = {"begin": tokens.ENV_BEGIN, "commit": tokens.ENV_COMMIT, "rollback": tokens.ENV_ROLLBACK}
BEGIN, COMMIT, ROLLBACK, SAVE = 5, 7, 8, 9
ISOLATION_LEVELS = {1: "READ UNCOMMITTED", 2: "READ COMMITTED", 3: "REPEATABLE READ", 4: "SERIALIZABLE", 5: "SNAPSHOT"}
UTF8_FEATURE = 0x0A


class Connection:
    """The server's side of a socket."""

    def __init__(self, server: StandIn, connected: socket.socket) -> None:
        self.server = server
        self.socket = connected
        self.spid = server.instance.next_spid()
        self.channel: Channel
        self.session: Session
        self.engine: Engine
        self.handles = rpc.Handles()

    def serve(self) -> None:
        """Log in and answer until the connection ends; an open transaction is rolled back then."""
        try:
            self.channel, login = open_channel(SocketTransport(self.socket), self.server.encryption, self.spid)
            if not self._log_in(login):
                return
            try:
                while True:
                    self._answer(self.channel.read_message())
            finally:
                self.session.abandon()
        except (ConnectionClosedError, OSError):
            pass
        finally:
            self.socket.close()

    # --- login -------------------------------------------------------------------------------------------------

    def _log_in(self, login: Login) -> bool:
        try:
            self.server.faults.at_login(login.user)
            who = self.server.instance.authenticate(login.user, login.password)
            who.application, who.host = login.application, login.host
            name = login.database or "master"
            if name.lower() not in self.server.instance.databases:
                self._refuse(SqlError(
                    4060, f'Cannot open database "{name}" requested by the login. The login failed.', severity=11
                ), SqlError(18456, f"Login failed for user '{login.user}'.", severity=14))  # fmt: skip
                return False
            database = self.server.instance.database(name)
        except SqlError as error:
            self._refuse(error)
            return False
        self.session = Session(self.server.instance, database, who, self.spid, self._check)
        self.session.on_transaction = self._transaction_changed
        self.engine = Engine(self.session)
        self._welcome(login)
        return True

    def _refuse(self, *errors: SqlError) -> None:
        for error in errors:
            self.channel.write(tokens.message(error))
        self.channel.write(tokens.done(tokens.DONE, tokens.ERROR))
        self.channel.finish()

    def _welcome(self, login: Login) -> None:
        database = self.session.database.name
        old = self.channel.packet_size
        wanted = login.packet_size or packets.DEFAULT_SIZE
        size = min(max(wanted, packets.SMALLEST), packets.LARGEST)
        changed = SqlError(5701, f"Changed database context to '{database}'.", severity=10, state=2)
        language = SqlError(5703, "Changed language setting to us_english.", severity=10)
        self.channel.write(
            tokens.environment(tokens.ENV_DATABASE, database, "master") + tokens.message(changed)
            + tokens.default_collation()
            + tokens.environment(tokens.ENV_LANGUAGE, "us_english", "") + tokens.message(language)
            + tokens.login_ack(_ack_version(login.tds_version))
            + tokens.environment(tokens.ENV_PACKET_SIZE, str(size), str(old))
            + (tokens.feature_ack({UTF8_FEATURE: b"\x01"}) if UTF8_FEATURE in login.features else b"")
            + tokens.done(tokens.DONE, 0)
        )  # fmt: skip
        self.channel.finish()
        self.channel.packet_size = size

    # --- messages ----------------------------------------------------------------------------------------------

    def _check(self) -> None:
        """Raise CancelledError when ATTENTION has come, ConnectionClosedError when the client has gone."""
        self.server.faults.wait_while_paused()
        if self.channel.attention():
            raise CancelledError

    def _transaction_changed(self, event: str, descriptor: bytes) -> None:
        new, old = (descriptor, b"") if event == "begin" else (b"", descriptor)
        self._reply.tokens(tokens.environment_bytes(TRANSACTION_EVENTS[event], new, old))

    def _answer(self, message: Message) -> None:
        self.server.faults.wait_while_paused()
        if message.type == packets.ATTENTION:
            self.channel.write(tokens.done(tokens.DONE, tokens.ATTENTION))
            self.channel.finish()
            return
        self._reply = Reply(self.channel, self._send_rows)
        self._reply.no_count = lambda: self.session.settings.no_count
        if message.status & (packets.RESET | packets.RESET_KEEP_TRANSACTION):
            self._reset(keep_transaction=bool(message.status & packets.RESET_KEEP_TRANSACTION))
        try:
            self._dispatch(message)
            self._reply.finish()
        except CancelledError:
            self._reply.cancelled()
        except SqlError as error:  # of the message itself: a parameter of a type that is not known
            self._failed(error)
            self._reply.finish()
        except ConnectionClosedError:
            raise
        except Exception as error:
            self._broken(error)

    def _broken(self, error: Exception) -> None:
        """A fault of the stand-in itself: said to the client as such, with the traceback in the log."""
        logger.exception("internal error")
        self.session.abandon()
        self._reply.error(SqlError(50000, f"stand-in: internal error: {type(error).__name__}: {error}"))
        self._reply.finish()

    def _reset(self, *, keep_transaction: bool) -> None:
        self.session.reset(keep_transaction=keep_transaction)
        self.channel.write(tokens.environment_bytes(tokens.ENV_RESET, b"", b""))

    def _dispatch(self, message: Message) -> None:
        if message.type == packets.BATCH:
            text = rpc.skip_headers(message.payload).decode("utf-16-le", "surrogatepass")
            self.server.counters.statement(text)
            self._batch(text)
        elif message.type == packets.RPC:
            self._reply.procedure = True
            for call in rpc.parse_calls(message.payload):
                self._call(call)
        elif message.type == packets.TRANSACTION:
            self._transaction_request(rpc.skip_headers(message.payload))
        else:
            raise ConnectionClosedError

    def _batch(self, text: str) -> None:
        try:
            statements = parse_batch(text)
        except SqlError as error:
            self._failed(error)
            return
        self._run_all(statements, {})

    def _run_all(
        self, statements: tuple[ast.Statement, ...], variables: dict[str, tuple[t.SqlType, t.SqlValue]]
    ) -> bool:
        """Run statements until one fails in a way that ends the batch; return whether none failed."""
        fine = True
        for statement in statements:
            results = self.engine.run(statement, variables)
            try:
                self._check()
                self.session.row_count = self._reply.statement(results)
                self.session.last_error = 0
            except SqlError as error:
                results.close()
                fine = False
                if self._failed(error):
                    break
            except BaseException:
                results.close()
                raise
        return fine

    def _failed(self, error: SqlError) -> bool:
        """Tell the client, roll back where the error does, and return whether the batch ends."""
        self.session.last_error = error.number
        abort = self.session.settings.abort_on_error
        if error.rolls_back or (abort and error.number not in (102, 50000)):
            self.session.abandon()
        self._reply.error(error)
        return error.ends_batch or abort

    # --- remote procedure calls --------------------------------------------------------------------------------

    def _call(self, call: rpc.Call) -> None:
        handle = b""
        try:
            run = rpc.prepare_run(call, self.handles)
            self.server.counters.statement(run.text)
            fine = self._run_all(run.statements, dict(run.variables))
            if run.handle is not None:
                handle = tokens.return_value("", t.INT, encoder(t.INT)(run.handle))
        except SqlError as error:
            self._failed(error)
            fine = False
        self._reply.procedure_end(0 if fine else 1, handle, failed=not fine)

    # --- transaction manager -----------------------------------------------------------------------------------

    def _transaction_request(self, body: bytes) -> None:
        kind = struct.unpack_from("<H", body)[0]
        try:
            if kind == BEGIN:
                self._begin(body[2:])
            elif kind == COMMIT:
                self.session.commit()
            elif kind == ROLLBACK:
                self.session.rollback(_name(body[2:]))
            elif kind == SAVE:
                self.session.save(_name(body[2:]))
            else:
                raise SqlError(50000, f"stand-in: not supported: transaction request {kind}")
            if kind in (COMMIT, ROLLBACK):
                self._begin_again(body[2:])
        except SqlError as error:
            self._failed(error)

    def _begin(self, body: bytes) -> None:
        level = ISOLATION_LEVELS.get(body[0])
        if level is not None:
            self.session.settings.isolation = "READ COMMITTED" if level == "READ UNCOMMITTED" else level
        self.session.begin()

    def _begin_again(self, body: bytes) -> None:
        """COMMIT and ROLLBACK may ask for the next transaction at once."""
        place = 1 + body[0]
        if len(body) > place and body[place] & 1:
            self._begin(body[place + 1 :])

    # --- rows --------------------------------------------------------------------------------------------------

    def _send_rows(self, result: ResultSet) -> int:
        """Send the rows as they come, under the faults that are ordered, and return how many they were."""
        count = 0
        link = Link(self.socket, self.spid, self.channel.write, self.channel.flush, self._sleep)
        for part in self.server.faults.watch(result.table).parts(result.blocks, link):
            self.channel.write(part.bytes)
            count += part.rows
            self.server.counters.rows(result.table, part.rows)
            self._check()
        return count

    def _sleep(self, seconds: float) -> None:
        self.server.instance.sleep(seconds, self._check)


def _name(body: bytes) -> str:
    return body[1 : 1 + body[0]].decode("utf-16-le") if body else ""


def _ack_version(version: int) -> int:
    """LOGINACK repeats the client's version up to 7.4; strict clients say 8."""
    return 0x08000000 if version >> 24 == 8 else 0x74000004
