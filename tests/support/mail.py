"""A real SMTP server that keeps what arrives."""

from __future__ import annotations

import email
import email.policy
import socket
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session


class Inbox:
    """The handler of an aiosmtpd server on `port`; `full` refuses what comes."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.mails: list[tuple[str, str]] = []
        self.full = False

    @property
    def url(self) -> str:
        """As `alerts.urls` has it."""
        return f"mailto://127.0.0.1:{self.port}?from=etl@example.org&to=you@example.org"

    def take_subjects(self) -> list[str]:
        """Of all mails, without the host's name; with that the inbox is empty again."""
        subjects = [subject.rpartition(" on ")[0] for subject, _ in self.mails]
        self.mails.clear()
        return subjects

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.full:
            return "452 mailbox full"
        assert isinstance(envelope.content, bytes)
        message: Any = email.message_from_bytes(envelope.content, policy=email.policy.default)
        part = message.get_body(("plain", "html"))
        self.mails.append((str(message["Subject"]), part.get_content() if part else ""))
        return "250 taken"
