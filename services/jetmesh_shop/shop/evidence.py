"""What a mesh on one machine keeps beside the streams: the spans of an order's reactions, and the mails as sent."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import NamedTuple

from jetmesh.operate.span_record import SpanRecord, UnreadableTraces
from jetmesh.operate.span_store import TraceStore
from jetmesh_shop.reference.mailsink import MailSink, part_of


class Mail(NamedTuple):
    """A mail as its reader sees it."""

    message_id: str
    recipient: str
    subject: str
    sent_at: str
    text: str
    html: str


@dataclass(frozen=True)
class Evidence:
    """Where spans and mails are kept, if they are; and the Jaeger that shows traces, if one runs."""

    traces: Path | None = None
    mails: Path | None = None
    jaeger_url: str = ""

    def spans(self, trace_ids: Sequence[str]) -> list[SpanRecord]:
        """The spans of these traces, by start; none where they can't be read."""
        if self.traces is None:
            return []
        try:
            with TraceStore(self.traces) as store:
                return [span for trace_id in trace_ids for span in store.spans_of(trace_id)]
        except (FileNotFoundError, UnreadableTraces, ValueError):
            return []

    def mails_of(self, message_ids: Sequence[str]) -> list[Mail]:
        """The mails with these Message-IDs, in the order in which they were sent."""
        if self.mails is None or not self.mails.is_file() or not message_ids:
            return []
        try:
            with closing(MailSink(self.mails)) as sink:
                return [_mail(kept.message_id, kept.recipient, kept.raw) for kept in sink.mails(*message_ids)]
        except sqlite3.Error:
            return []


def _mail(message_id: str, recipient: str, raw: bytes) -> Mail:
    message = message_from_bytes(raw, policy=default)
    sent = str(message["Date"] or "")
    return Mail(
        message_id, recipient, str(message["Subject"] or ""), sent, part_of(message, "plain"), part_of(message, "html")
    )
