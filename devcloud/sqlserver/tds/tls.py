"""TLS inside PRELOGIN packets, as TDS 7.4 does it ([MS-TDS] 3.2.5.1): the handshake travels in packets, what follows
in plain TLS records that hold packets.
"""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import tempfile
import threading
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from devcloud.sqlserver.errors import ConnectionLostError
from devcloud.sqlserver.tds.packets import MessageWriter, PacketType, Stream, read_message

_RECORD_BYTES: Final = 1 << 16
_DAYS_VALID: Final = 365


def make_server_context(host: str) -> ssl.SSLContext:
    """Return a TLS context with a fresh self-signed certificate for ``host`` and localhost.

    TLS 1.2 at most: TDS 7.4 ends its handshake in packets, where TLS 1.3's session tickets would arrive too late.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    alternatives = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address(host))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=_DAYS_VALID))
        .add_extension(alternatives, critical=False)
        .sign(key, hashes.SHA256())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + certificate.public_bytes(serialization.Encoding.PEM)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "certificate.pem"
        path.write_bytes(pem)
        context.load_cert_chain(path)
    return context


class TlsStream:
    """TLS over another stream. Reading and writing may happen in two threads."""

    def __init__(self, stream: Stream, context: ssl.SSLContext) -> None:
        self._stream = stream
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._buffer = bytearray(_RECORD_BYTES)
        self._shake_hands()

    def _shake_hands(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._send_handshake()
                kind, _, body = read_message(self._stream)
                if kind is not PacketType.PRELOGIN:
                    raise ConnectionLostError(f"a {kind.name} amid the TLS handshake") from None
                self._incoming.write(body)
            except ssl.SSLError as error:
                raise ConnectionLostError(f"TLS: {error.reason}") from None
            else:
                self._send_handshake()
                return

    def _send_handshake(self) -> None:
        if data := self._outgoing.read():
            writer = MessageWriter(self._stream, kind=PacketType.PRELOGIN)
            writer.write(data)
            writer.finish()

    def recv_into(self, buffer: memoryview) -> int:
        """Receive at most as many bytes as the buffer holds; 0 at the end."""
        while True:
            with self._lock:
                try:
                    data = self._tls.read(len(buffer))
                except ssl.SSLWantReadError:
                    pass
                except ssl.SSLError:
                    return 0
                else:
                    buffer[: len(data)] = data
                    return len(data)
            received = self._stream.recv_into(memoryview(self._buffer))
            if received == 0:
                return 0
            with self._lock:
                self._incoming.write(memoryview(self._buffer)[:received])

    def sendall(self, data: bytes | memoryview) -> None:
        """Send everything."""
        view = memoryview(data)
        with self._sending:
            for start in range(0, len(view), _RECORD_BYTES):
                with self._lock:
                    self._tls.write(view[start : start + _RECORD_BYTES])
                    encrypted = self._outgoing.read()
                self._stream.sendall(encrypted)
