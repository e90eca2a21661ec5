"""A self-signed certificate made at start, and the TLS contexts for TDS 7.4 and for strict (TDS 8)."""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
import tempfile
from functools import cache
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

VALID_DAYS = 30


class Certificate(NamedTuple):
    """Certificate and key in PEM; both live only in memory."""

    certificate: bytes
    key: bytes


@cache
def self_signed() -> Certificate:
    """Make a certificate for localhost, once per process."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    hosts = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Certificate(signed.public_bytes(serialization.Encoding.PEM), secret)


@cache
def context(*, strict: bool) -> ssl.SSLContext:
    """Return the server's context. Outside strict it is capped at TLS 1.2: with 1.3 Microsoft's drivers hang."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if strict:
        made.set_alpn_protocols(["tds/8.0"])
    else:
        made.maximum_version = ssl.TLSVersion.TLSv1_2
    _load(made, self_signed())
    return made


def _load(made: ssl.SSLContext, pair: Certificate) -> None:
    """The ssl module takes files only: write one for the moment of loading."""
    handle, path = tempfile.mkstemp(suffix=".pem")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(pair.key + pair.certificate)
        made.load_cert_chain(path)
    finally:
        os.unlink(path)
