"""What notifications needs of mail: the simulated mailer behaves as the one that speaks SMTP."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Protocol

import pytest

from jetmesh_shop.notifications import templates
from jetmesh_shop.notifications.adapters import SmtpMailer
from jetmesh_shop.notifications.mail_server import Server
from jetmesh_shop.notifications.mailer import Mailer, MailUnavailable
from tests.services.mail_server import TAKEN, Chunked, MailServer, always, serving
from tests.simulation.outside import SimulatedMailer

CONTENTS = templates.confirmation("o-1042", [("tiramisu", 2, 650)], "EUR", 1300)
MAIL = CONTENTS.to("ada@example.com", "<o-1042.confirmation@jetmesh.example>")
OTHER = replace(MAIL, to="grace@example.com", message_id="<o-1043.confirmation@jetmesh.example>")


class Line(Protocol):
    """A mailer, and what a test sees and does behind it."""

    @property
    def mailer(self) -> Mailer: ...

    def taken(self) -> list[tuple[str, str]]:
        """Recipients and Message-IDs."""

    def close(self) -> None:
        """From now on, no mail is taken."""

    def lose_answers(self) -> None:
        """From now on, mails are taken and nobody says so."""

    def open(self) -> None:
        """All is well again."""


class OverSmtp:
    """The mailer of notifications, and a real mail server."""

    def __init__(self, server: MailServer) -> None:
        self._server = server
        self.mailer = SmtpMailer(Server.from_url(server.url), "orders@example.com")

    def taken(self) -> list[tuple[str, str]]:
        return self._server.took

    def close(self) -> None:
        self._server.sender = always("421 4.3.2 closed")

    def lose_answers(self) -> None:
        self._server.hangs_up = True

    def open(self) -> None:
        self._server.sender, self._server.hangs_up = TAKEN, False


class Simulated:
    """The mailer of the simulation."""

    def __init__(self) -> None:
        self.mailer = SimulatedMailer(7)

    def taken(self) -> list[tuple[str, str]]:
        return [(mail.to, mail.message_id) for mail in self.mailer.taken]

    def close(self) -> None:
        self.mailer.trouble.before = 1.0

    def lose_answers(self) -> None:
        self.mailer.trouble.after = 1.0

    def open(self) -> None:
        self.mailer.trouble.before = self.mailer.trouble.after = 0.0


@pytest.fixture(params=["over SMTP", "over SMTP, in chunks", "simulated"])
async def line(request: pytest.FixtureRequest) -> AsyncIterator[Line]:
    """Each."""
    if request.param == "simulated":
        yield Simulated()
        return
    async with AsyncExitStack() as stack:
        server = Chunked() if request.param == "over SMTP, in chunks" else MailServer()
        await stack.enter_async_context(serving(server))
        found = OverSmtp(server)
        stack.push_async_callback(found.mailer.aclose)
        yield found


async def test_a_mail_is_taken_once_for_each_call(line: Line) -> None:
    for mail in (MAIL, OTHER, MAIL):
        await line.mailer.send(mail)
    assert line.taken() == [(mail.to, mail.message_id) for mail in (MAIL, OTHER, MAIL)]


async def test_a_server_that_takes_nothing_is_unavailable_and_the_next_attempt_succeeds(line: Line) -> None:
    line.close()
    for _ in range(2):
        with pytest.raises(MailUnavailable):
            await line.mailer.send(MAIL)
    assert line.taken() == []
    line.open()
    await line.mailer.send(MAIL)
    assert line.taken() == [(MAIL.to, MAIL.message_id)]


async def test_a_mail_whose_answer_is_lost_is_unavailable_and_may_go_out_twice(line: Line) -> None:
    line.lose_answers()
    with pytest.raises(MailUnavailable):
        await line.mailer.send(MAIL)
    line.open()
    await line.mailer.send(MAIL)
    assert line.taken() == [(MAIL.to, MAIL.message_id)] * 2
