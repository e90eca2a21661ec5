"""Packets and messages over one connection; a big reply leaves in big pieces, without a second copy kept."""

from __future__ import annotations

import struct
from typing import NamedTuple, Protocol

import numpy as np

from etl_cli.sandbox.standin.errors import ConnectionClosedError

HEADER = 8
BATCH, RPC, REPLY, ATTENTION, TRANSACTION, LOGIN7, PRELOGIN = 1, 3, 4, 6, 14, 16, 18
END_OF_MESSAGE, RESET, RESET_KEEP_TRANSACTION = 0x01, 0x08, 0x10
DEFAULT_SIZE, SMALLEST, LARGEST = 4096, 512, 32767


class Transport(Protocol):
    """Bytes in and out: a socket, or TLS over one."""

    def receive(self, timeout_s: float | None = None) -> bytes | None:
        """Return what has come, b'' at the end of the stream, None when nothing came in time."""

    def send(self, data: bytes | memoryview) -> None:
        """Send all of it."""


class Message(NamedTuple):
    """A whole message of the client."""

    type: int
    status: int
    payload: bytes


class Channel:
    """Reads messages, writes replies in packets of the agreed size, notices ATTENTION in between."""

    def __init__(self, transport: Transport, spid: int = 0) -> None:
        self.transport = transport
        self.packet_size = DEFAULT_SIZE
        self.spid = spid
        self._inbox = bytearray()
        self._pending = bytearray()
        self._sequence = 1

    def read_message(self) -> Message:
        """Wait for a whole message; ConnectionClosedError when the client goes away."""
        payload = bytearray()
        while True:
            kind, status, length = self._wait_for_packet()
            payload += self._inbox[HEADER:length]
            del self._inbox[:length]
            if status & END_OF_MESSAGE:
                return Message(kind, status, bytes(payload))

    def _wait_for_packet(self) -> tuple[int, int, int]:
        while True:
            packet = self._peek()
            if packet is not None:
                return packet
            self._fill(None)

    def _peek(self) -> tuple[int, int, int] | None:
        """Return type, status and length of the first packet once it is complete."""
        if len(self._inbox) < HEADER:
            return None
        kind, status, length = struct.unpack(">BBH", self._inbox[:4])
        return (kind, status, length) if len(self._inbox) >= max(length, HEADER) else None

    def _fill(self, timeout_s: float | None) -> bool:
        data = self.transport.receive(timeout_s)
        if data == b"":
            raise ConnectionClosedError
        self._inbox += data or b""
        return bool(data)

    def attention(self, wait_s: float = 0.0) -> bool:
        """Return whether the client wants its statement cancelled; wait at most so long for it to say so."""
        packet = self._peek()
        if packet is None and self._fill(wait_s):
            packet = self._peek()
        if packet is None or packet[0] != ATTENTION:
            return False
        del self._inbox[: packet[2]]
        return True

    def write(self, data: bytes | memoryview) -> None:
        """Add to the reply; full packets leave at once."""
        room = self.packet_size - HEADER
        if len(self._pending) + len(data) <= room:
            self._pending += data
            return
        view = memoryview(data)
        missing = room - len(self._pending)
        self._pending += view[:missing]
        self._send_pending(last=False)
        self._send_full(view[missing:], room)

    def _send_full(self, view: memoryview, room: int) -> None:
        """Send all full packets of view but keep the last bytes, so that the reply's end is never empty."""
        count = max(len(view) - 1, 0) // room
        if count:
            packets = np.empty((count, self.packet_size), np.uint8)
            packets[:, :HEADER] = np.frombuffer(self._header(self.packet_size, last=False), np.uint8)
            packets[:, 6] = np.arange(self._sequence, self._sequence + count) % 256
            packets[:, HEADER:] = np.frombuffer(view[: count * room], np.uint8).reshape(count, room)
            self._sequence += count
            self.transport.send(packets.reshape(-1).data)
        self._pending += view[count * room :]

    def finish(self) -> None:
        """Send what is left, marked as the end of the message."""
        self._send_pending(last=True)
        self._sequence = 1

    def flush(self) -> None:
        """Send what is pending although the message goes on."""
        if self._pending:
            self._send_pending(last=False)

    def _send_pending(self, *, last: bool) -> None:
        header = self._header(HEADER + len(self._pending), last=last)
        self._sequence += 1
        data = header + bytes(self._pending)
        self._pending.clear()
        self.transport.send(data)

    def _header(self, length: int, *, last: bool) -> bytes:
        return struct.pack(">BBHHBB", REPLY, int(last), length, self.spid, self._sequence % 256, 0)
