"""One rule says which addresses a mail reaches: at the entrance, before an order costs money, and at the exit."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jetmesh.testing import MeshOf
from jetmesh_contracts import OrderPlaced, OrderRefused
from jetmesh_shop.addresses import PLAIN, Mailable, Unmailable, checked, mailable
from jetmesh_shop.notifications.adapters import SmtpMailer
from jetmesh_shop.notifications.mail_server import Server
from jetmesh_shop.notifications.mailer import MailRefused
from jetmesh_shop.orders import domain
from jetmesh_shop.orders.catalogue import PRICES
from jetmesh_shop.orders.edge.placing import refusal
from jetmesh_shop.orders.service import Orders, orders
from tests.services.mail_server import MailServer, serving
from tests.services.test_mail import MAIL, SENDER
from tests.support.samples import ADA, body, placed

REACHED = {
    "ada@example.com": "ada@example.com",
    "Ada.O'Hara+mesh@Example.COM": "Ada.O'Hara+mesh@example.com",
    "ada@bücher.example": "ada@xn--bcher-kva.example",
    "ada@BÜCHER.example": "ada@xn--bcher-kva.example",
    "ada@xn--bcher-kva.example": "ada@xn--bcher-kva.example",
    "ada@παράδειγμα.δοκιμή": "ada@xn--hxajbheg2az3al.xn--jxalpdlp",
}
REACHED_BY_SMTPUTF8 = {
    "ü@bücher.example": "ü@xn--bcher-kva.example",
    "u\u0308@example.com": "ü@example.com",
    "📮@example.com": "📮@example.com",
}
UNREACHED = [
    "<x>@b.cc",
    "a,b@c.d",
    "a(b)@c.de",
    'a"b@c.de',
    "a:b@c.de",
    "a\\b@c.de",
    ".a@b.cc",
    "a.@b.cc",
    "a..b@c.de",
    "a@[127.0.0.1]",
    "a@127.0.0.1",
    "a@-b.cc",
    "a@b-.cc",
    "a@b_c.de",
    "a@b..cc",
    "a@b.cc.",
    "a@localhost",
    "a@📮.example",
    f"{'a' * 65}@b.cc",
    f"{'ü' * 33}@b.cc",
    f"a@{'b' * 64}.cc",
    "a\u202eb@c.de",
    "a\ud800b@c.de",
    "a\u200bb@c.de",
]


@pytest.mark.parametrize(("address", "envelope"), [*REACHED.items(), *REACHED_BY_SMTPUTF8.items()])
def test_a_mail_reaches_these(address: str, envelope: str) -> None:
    assert str(mailable(address)) == envelope
    assert mailable(address).needs_smtputf8 == (address in REACHED_BY_SMTPUTF8)


@pytest.mark.parametrize("address", UNREACHED)
def test_no_mail_reaches_these_and_the_reason_does_not_tell_them(address: str) -> None:
    with pytest.raises(Unmailable) as reason:
        mailable(address)
    assert address not in str(reason.value)


@given(st.from_regex(PLAIN, fullmatch=True))
@example(f"{'a' * 64}@b.cc")
@example(f"a@{'.'.join(['b' * 62] * 4)}.cc")
@example(f"{'a' * 64}@{'.'.join(['b' * 46] * 4)}.cc")
@example(f"{'a' * 64}@{'.'.join(['b' * 47] * 4)}.cc")
@settings(deadline=None)
def test_what_is_read_at_a_glance_is_read_as_by_the_rules(address: str) -> None:
    assert outcome(mailable, address) == outcome(checked, address)


def outcome(read: Callable[[str], Mailable], address: str) -> Mailable | str:
    try:
        return read(address)
    except Unmailable as wrong:
        return str(wrong)


@given(st.text() | st.emails())
def test_whatever_passes_is_safe_in_a_command_and_a_header(address: str) -> None:
    try:
        found = mailable(address)
    except Unmailable:
        return
    assert found.domain.isascii()
    assert not set(str(found)) & set('\r\n\0 <>,;:"()[]\\')
    assert mailable(str(found)) == found


@pytest.mark.parametrize("address", [*UNREACHED[:5], *REACHED_BY_SMTPUTF8])
def test_an_order_of_whom_no_mail_reaches_is_refused_before_it_costs_money(address: str) -> None:
    order = placed().model_copy(update={"customer": ADA.model_copy(update={"email": address})})
    refused = domain.check(order, PRICES)
    assert isinstance(refused, OrderRefused)
    assert refused.reason == "email_unusable"
    assert address not in refused.detail
    assert isinstance(domain.check(order, PRICES, smtputf8=True), OrderPlaced) == (address in REACHED_BY_SMTPUTF8)


def test_the_edge_tells_the_field() -> None:
    problem = refusal(
        OrderRefused(order_id="o-1", customer=ADA, reason="email_unusable", detail="the address has no @")
    )
    assert [(error["pointer"], error["message"]) for error in problem.members["errors"]] == [
        ("#/customer/email", "the address has no @")
    ]


async def test_it_is_refused_at_the_intake_and_recorded(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(orders, dependencies=[Orders(PRICES)])
    for number, address in enumerate(("ü@bücher.example", "📮@example.com", "<x>@b.cc", "a,b@c.d")):
        customer = {**body()["customer"], "email": address}
        await mesh.publish("orders.placed", body(f"o-{number}", customer=customer))
        refused = await mesh.recorded(OrderRefused, f"o-{number}")
        assert (refused.reason, refused.customer.email) == ("email_unusable", address)
    assert await mesh.dead_letters() == []


@pytest.mark.parametrize(("address", "envelope"), REACHED_BY_SMTPUTF8.items())
async def test_smtputf8_is_used_where_the_server_has_it(address: str, envelope: str) -> None:
    async with serving(MailServer(), smtputf8=True) as server:
        mailer = SmtpMailer(Server.from_url(server.url), SENDER)
        await mailer.send(replace(MAIL, to=address))
        assert "SMTPUTF8" in server.options
        await mailer.send(MAIL)
        assert "SMTPUTF8" not in server.options
        await mailer.aclose()
    assert [recipient for recipient, _ in server.took] == [envelope, MAIL.to]


async def test_a_server_without_it_refuses_the_mail_and_names_the_setting() -> None:
    async with serving(MailServer()) as server:
        mailer = SmtpMailer(Server.from_url(server.url), SENDER)
        with pytest.raises(MailRefused, match="JETMESH_MAIL_SMTPUTF8"):
            await mailer.send(replace(MAIL, to="ü@bücher.example"))
        await mailer.send(replace(MAIL, to="ada@bücher.example"))
        await mailer.aclose()
    assert server.took == [("ada@xn--bcher-kva.example", MAIL.message_id)]


def test_an_address_has_two_parts() -> None:
    assert mailable("ada@example.com") == Mailable("ada", "example.com")
