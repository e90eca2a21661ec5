"""A socket, and TLS over it: inside PRELOGIN packets for the handshake (TDS 7.4), from the first byte (TDS 8)."""

from __future__ import annotations

import select
import socket
import ssl
import struct

from etl_cli.sandbox.standin.errors import ConnectionClosedError
from etl_cli.sandbox.standin.wire.packets import HEADER, PRELOGIN, Transport

CHUNK = 65536
HANDSHAKE_PACKET = 4096


class SocketTransport:
    """Plain bytes over a connected socket."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)

    def receive(self, timeout_s: float | None = None) -> bytes | None:
        """Return what has come; see Transport."""
        try:
            if timeout_s is not None and not self._poll.poll(timeout_s * 1000):
                return None
            return self.socket.recv(CHUNK)
        except OSError as error:
            raise ConnectionClosedError from error

    def send(self, data: bytes | memoryview) -> None:
        """Send all of it."""
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise ConnectionClosedError from error

    def peek(self) -> bytes:
        """Return the first byte without taking it; b'' at the end."""
        try:
            return self.socket.recv(1, socket.MSG_PEEK)
        except OSError as error:
            raise ConnectionClosedError from error


class PreloginFrames:
    """Carries a TLS handshake inside PRELOGIN packets."""

    def __init__(self, lower: Transport) -> None:
        self._lower = lower
        self._inbox = bytearray()

    def receive(self, timeout_s: float | None = None) -> bytes | None:
        """Return the payload of the next packet."""
        while len(self._inbox) < HEADER or len(self._inbox) < self._length():
            data = self._lower.receive(timeout_s)
            if not data:
                return data
            self._inbox += data
        payload = bytes(self._inbox[HEADER : self._length()])
        del self._inbox[: self._length()]
        return payload

    def _length(self) -> int:
        length: int = struct.unpack(">H", self._inbox[2:4])[0]
        return length

    def send(self, data: bytes | memoryview) -> None:
        """Send it in packets."""
        room = HANDSHAKE_PACKET - HEADER
        for start in range(0, len(data), room):
            part = bytes(data[start : start + room])
            last = int(start + room >= len(data))
            self._lower.send(struct.pack(">BBHHBB", PRELOGIN, last, HEADER + len(part), 0, 0, 0) + part)


class TlsTransport:
    """TLS through memory buffers, so that handshake and data may travel differently."""

    def __init__(self, lower: Transport, context: ssl.SSLContext) -> None:
        self.lower = lower
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def handshake(self, carrier: Transport) -> None:
        """Shake hands over carrier; later data goes over the lower transport."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._drain(carrier)
                data = carrier.receive()
                if not data:
                    raise ConnectionClosedError from None
                self._incoming.write(data)
                continue
            except ssl.SSLError as error:
                raise ConnectionClosedError from error
            self._drain(carrier)
            return

    def _drain(self, carrier: Transport) -> None:
        if self._outgoing.pending:
            carrier.send(self._outgoing.read())

    def receive(self, timeout_s: float | None = None) -> bytes | None:
        """Return decrypted bytes; see Transport."""
        while True:
            try:
                return self._tls.read(CHUNK)
            except ssl.SSLWantReadError:
                data = self.lower.receive(timeout_s)
                if not data:
                    return data
                self._incoming.write(data)
            except ssl.SSLError:
                return b""

    def send(self, data: bytes | memoryview) -> None:
        """Encrypt and send all of it, in pieces that keep the buffer small."""
        view = memoryview(data)
        for start in range(0, len(view), 16 * CHUNK):
            self._tls.write(view[start : start + 16 * CHUNK])
            self._drain(self.lower)
