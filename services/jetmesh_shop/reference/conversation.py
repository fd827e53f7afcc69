"""An SMTP conversation of the mail sink: aiosmtpd's, with CHUNKING, and with fewer steps for each mail."""

import re
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope

SIZE_MAX_BYTES = 10 * 1024 * 1024
PLAIN = re.compile(r"<([\w.+-]+@[\w.-]+)>(.*)", re.ASCII)


class Conversation(SMTP):
    """aiosmtpd's, and CHUNKING (RFC 3030): a mail is so many bytes, of which no line is read."""

    line_length_limit = 65_536
    """What it reads at once; aiosmtpd stops and begins again for each line otherwise."""

    def __init__(self, handler: object, **options: Any) -> None:
        super().__init__(handler, data_size_limit=SIZE_MAX_BYTES, **options)
        self._held: list[str] = []

    async def push(self, status: str | bytes) -> None:
        """Reply. What was done is said when the loop comes round, so that commands that came together are answered
        together; whatever else is said at once, since it may be the last word."""
        said = status if isinstance(status, str) else status.decode()
        if said.startswith("250"):
            if not self._held:
                self.loop.call_soon(self._say)
            self._held.append(said)
            return
        held, self._held = self._held, []
        await super().push("\r\n".join([*held, said]))

    def _getaddr(self, arg: str) -> tuple[str | None, str | None]:
        """The address in brackets, and what follows. (aiosmtpd makes a class of its own to read one: 0.06 ms.)"""
        found = PLAIN.fullmatch(arg)
        return (found[1], found[2]) if found else super()._getaddr(arg)

    def _say(self) -> None:
        held, self._held = self._held, []
        if held and not self._writer.is_closing():
            self._writer.write("".join(f"{said}\r\n" for said in held).encode())

    async def smtp_BDAT(self, arg: str | None) -> None:
        """A piece of a mail; with the last one, the mail is there."""
        assert self.session is not None
        assert self.envelope is not None
        assert self.transport is not None
        size, _, last = (arg or "").upper().partition(" ")
        if not size.isdecimal() or last not in ("", "LAST"):
            await self.push("501 5.5.4 BDAT size [LAST]")
            return self.transport.close()  # its bytes can't be told from commands
        so_far = self.envelope.content or b""
        assert isinstance(so_far, bytes)
        if len(so_far) + int(size) > SIZE_MAX_BYTES:
            await self.push("552 5.3.4 too large")
            return self.transport.close()
        self.envelope.content = so_far + await self._reader.readexactly(int(size))
        if not self.envelope.rcpt_tos:
            answer = "503 5.5.1 no recipient"
        elif last:
            answer = await self.event_handler.handle_DATA(self, self.session, self.envelope)
        else:
            answer = "250 2.0.0 go on"
        if last:
            self.envelope = Envelope()
        await self.push(answer)
