"""From the first byte to LOGIN7: encryption is agreed on, then the login is read ([MS-TDS] 2.2.6.4, 2.2.6.5)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from etl_cli.sandbox.standin.errors import ConnectionClosedError
from etl_cli.sandbox.standin.wire import tls
from etl_cli.sandbox.standin.wire.packets import LOGIN7, PRELOGIN, Channel
from etl_cli.sandbox.standin.wire.tokens import VERSION
from etl_cli.sandbox.standin.wire.transport import PreloginFrames, SocketTransport, TlsTransport

OFF, ON, NOT_SUPPORTED, REQUIRED = 0, 1, 2, 3
TLS_HANDSHAKE = b"\x16"
ENCRYPTION_MODES = ("none", "login", "optional", "required")
EXTENSION_FLAG = 0x10


@dataclass(frozen=True, slots=True)
class Login:
    """What LOGIN7 asks for; the password never shows in a representation."""

    user: str
    password: str = field(repr=False)
    database: str
    application: str
    host: str
    packet_size: int
    tds_version: int
    features: tuple[int, ...]


def open_channel(transport: SocketTransport, encryption: str, spid: int) -> tuple[Channel, Login]:
    """Agree on encryption and return the channel for what follows, with the login.

    encryption: none refuses TLS, login encrypts no more than the login, optional does what the client asks,
    required encrypts everything. A client that starts with TLS gets strict encryption in every mode.
    """
    if transport.peek() == TLS_HANDSHAKE:
        secure = TlsTransport(transport, tls.context(strict=True))
        secure.handshake(transport)
        channel = Channel(secure, spid)
        _answer_prelogin(channel, "none")
        return channel, _read_login(channel)
    channel = Channel(transport, spid)
    answer = _answer_prelogin(channel, encryption)
    if answer == NOT_SUPPORTED:
        return channel, _read_login(channel)
    secure = TlsTransport(transport, tls.context(strict=False))
    secure.handshake(PreloginFrames(transport))
    channel.transport = secure
    login = _read_login(channel)
    if answer == OFF:
        channel.transport = transport
    return channel, login


def _answer_prelogin(channel: Channel, encryption: str) -> int:
    message = channel.read_message()
    if message.type != PRELOGIN:
        raise ConnectionClosedError
    wanted = prelogin_options(message.payload).get(1, b"\x02")[0]
    answer = _agree(wanted, encryption)
    channel.write(_prelogin({0: struct.pack(">BBHH", *VERSION, 0), 1: bytes([answer]), 2: b"\0", 3: b"", 4: b"\0"}))
    channel.finish()
    return answer


def _agree(wanted: int, encryption: str) -> int:
    if wanted == NOT_SUPPORTED or encryption == "none":
        return NOT_SUPPORTED
    if encryption == "required":
        return REQUIRED
    return ON if wanted in (ON, REQUIRED) and encryption == "optional" else OFF


def prelogin_options(payload: bytes) -> dict[int, bytes]:
    """Return the options of PRELOGIN by number."""
    options: dict[int, bytes] = {}
    position = 0
    while payload[position] != 0xFF:
        token, offset, length = struct.unpack_from(">BHH", payload, position)
        options[token] = payload[offset : offset + length]
        position += 5
    return options


def _prelogin(options: dict[int, bytes]) -> bytes:
    offset = 5 * len(options) + 1
    head, body = b"", b""
    for token, data in options.items():
        head += struct.pack(">BHH", token, offset + len(body), len(data))
        body += data
    return head + b"\xff" + body


def _read_login(channel: Channel) -> Login:
    message = channel.read_message()
    if message.type != LOGIN7:
        raise ConnectionClosedError
    return parse_login(message.payload)


def parse_login(payload: bytes) -> Login:
    """Return the fields of LOGIN7."""
    _, version, packet_size = struct.unpack_from("<III", payload, 0)

    def text(position: int) -> str:
        offset, length = struct.unpack_from("<HH", payload, position)
        return payload[offset : offset + length * 2].decode("utf-16-le", "surrogatepass")

    offset, length = struct.unpack_from("<HH", payload, 44)
    password = _reveal(payload[offset : offset + length * 2])
    return Login(
        user=text(40), password=password, database=text(68), application=text(48), host=text(36),
        packet_size=packet_size, tds_version=version, features=_features(payload),
    )  # fmt: skip


def _reveal(data: bytes) -> str:
    """Undo the obfuscation of the password: XOR A5, then the half bytes change places."""
    return bytes(((b ^ 0xA5) << 4 | (b ^ 0xA5) >> 4) & 0xFF for b in data).decode("utf-16-le", "surrogatepass")


def _features(payload: bytes) -> tuple[int, ...]:
    """Return the numbers of the feature extensions that the client asks for."""
    if not payload[27] & EXTENSION_FLAG:
        return ()
    pointer = struct.unpack_from("<H", payload, 56)[0]
    position = struct.unpack_from("<I", payload, pointer)[0]
    found = []
    while position < len(payload) and payload[position] != 0xFF:
        found.append(payload[position])
        position += 5 + struct.unpack_from("<I", payload, position + 1)[0]
    return tuple(found)
