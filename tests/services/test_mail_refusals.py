"""A recipient's refusal is the mail's own; the server's stops them all. Each has its end."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from jetmesh.testing import LocalMesh, MeshOf
from jetmesh_contracts import ConfirmationSent
from jetmesh_shop.notifications.adapters import SmtpMailer
from jetmesh_shop.notifications.mail_server import Server
from jetmesh_shop.notifications.mailer import MailDeferred, MailRefused, MailUnavailable
from jetmesh_shop.notifications.service import Notifications, notifications
from tests.services.mail_server import Chunked, MailServer, Reply, always, serving
from tests.services.test_mail import MAIL, SENDER
from tests.support.samples import confirmed, placed


@asynccontextmanager
async def mailer_to(server: MailServer) -> AsyncIterator[SmtpMailer]:
    async with serving(server):
        mailer = SmtpMailer(Server.from_url(server.url), SENDER)
        yield mailer
        await mailer.aclose()


def to_some(reply: str, share: int = 2) -> Reply:
    """Of `share` recipients one is refused, by the number in its address."""
    return lambda address: reply if int(address.partition("@")[0].rpartition("-")[2]) % share == 0 else ""


@pytest.mark.parametrize(
    ("to", "reply", "error"),
    [
        ("recipient", "450 4.2.1 mailbox busy", MailDeferred),
        ("recipient", "451 4.7.1 greylisted, come again", MailDeferred),
        ("recipient", "451 come again", MailDeferred),
        ("recipient", "452 4.2.2 mailbox full", MailDeferred),
        ("recipient", "452 4.3.1 system full", MailUnavailable),
        ("recipient", "421 4.3.2 closing", MailUnavailable),
        ("recipient", "550 5.1.1 no such user", MailRefused),
        ("recipient", "530 5.7.0 authenticate first", MailUnavailable),
        ("sender", "451 4.3.0 lookup failed", MailUnavailable),
        ("sender", "550 5.7.1 not from you", MailUnavailable),
        ("mail", "451 4.3.0 error in processing", MailUnavailable),
        ("mail", "452 4.2.2 mailbox full", MailDeferred),
        ("mail", "451 4.7.1 greylisted, come again", MailDeferred),
        ("mail", "554 5.6.0 refused by content", MailRefused),
        ("mail", "421 4.3.0 going down", MailUnavailable),
    ],
)
@pytest.mark.parametrize("kind", [MailServer, Chunked])
async def test_a_reply_is_the_mails_or_the_servers_and_never_tells_the_address(
    to: str, reply: str, error: type[Exception], kind: type[MailServer]
) -> None:
    server = kind()
    setattr(server, to, always(reply))
    async with mailer_to(server) as mailer:
        with pytest.raises(error) as refused:
            await mailer.send(MAIL)
    assert MAIL.to not in str(refused.value)
    assert server.took == []


@pytest.mark.parametrize("reply", ["251 2.1.5 will forward", "252 2.1.5 will try"])
async def test_a_recipient_elsewhere_is_taken(reply: str) -> None:
    server = MailServer(recipient=always(reply))
    async with mailer_to(server) as mailer:
        await mailer.send(MAIL)
    assert server.took == [(MAIL.to, MAIL.message_id)]


async def test_a_server_that_refuses_the_recipient_and_hangs_up_has_refused_the_recipient() -> None:
    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 test\r\n")
        while line := await reader.readline():
            if line.startswith(b"RCPT"):
                writer.write(b"550 5.1.1 no such user\r\n")
                break
            writer.write(b"250-test\r\n250-PIPELINING\r\n250 CHUNKING\r\n" if line[:4] == b"EHLO" else b"250 ok\r\n")
        writer.close()

    async with await asyncio.start_server(converse, "127.0.0.1", 0) as server:
        mailer = SmtpMailer(Server.from_url(f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}"), SENDER)
        with pytest.raises(MailRefused, match=r"550 5\.1\.1"):
            await mailer.send(MAIL)


@asynccontextmanager
async def notifying(mesh_of: MeshOf, server: MailServer) -> AsyncIterator[LocalMesh]:
    """The service at work, on this mail server."""
    async with mailer_to(server) as mailer:
        mesh = await mesh_of(notifications, dependencies=[Notifications(mailer)])
        yield mesh
        await mesh.stop(notifications)


async def confirm(mesh: LocalMesh, numbers: range) -> None:
    """So many orders are promised, each to a recipient of its own."""
    for number in numbers:
        promised = confirmed(placed(f"o-{number}"))
        customer = promised.customer.model_copy(update={"email": f"ada-{number}@example.com"})
        await mesh.record(promised.model_copy(update={"customer": customer}))


@pytest.mark.parametrize("reply", ["451 4.7.1 greylisted, come again", "452 4.2.2 mailbox full", "550 5.1.1 no user"])
async def test_recipients_that_are_put_off_hold_up_nobody_else(mesh_of: MeshOf, reply: str) -> None:
    server = MailServer(recipient=to_some(reply))
    async with notifying(mesh_of, server) as mesh:
        await confirm(mesh, range(24))
        for number in range(1, 24, 2):
            await mesh.recorded(ConfirmationSent, f"o-{number}")
        assert {recipient for recipient, _ in server.took} == {f"ada-{n}@example.com" for n in range(1, 24, 2)}


async def test_a_greylisted_recipient_gets_the_mail_once_it_is_let_in(mesh_of: MeshOf) -> None:
    asked = Counter[str]()

    def greylisted(address: str) -> str:
        asked[address] += 1
        return "451 4.7.1 greylisted, come again" if asked[address] <= 3 else ""

    server = MailServer(recipient=greylisted)
    async with notifying(mesh_of, server) as mesh:
        await confirm(mesh, range(6))
        for number in range(6):
            await mesh.recorded(ConfirmationSent, f"o-{number}", 30)
        assert len(server.took) == 6
        assert await mesh.dead_letters() == []


async def test_the_servers_refusal_opens_the_circuit_breaker_and_costs_no_attempt(mesh_of: MeshOf) -> None:
    server = MailServer(sender=always("451 4.3.0 not now"))
    async with notifying(mesh_of, server) as mesh:
        await confirm(mesh, range(12))
        health = mesh.replicas[0].health
        await mesh.until(lambda: any("open" in state for state in health.notes().values()))
        server.sender = always("")
        for number in range(12):
            await mesh.recorded(ConfirmationSent, f"o-{number}", 30)
        assert len(server.took) == 12
        assert await mesh.dead_letters() == []
