"""Who may see the mesh, who may change it, and that no other site can make a browser do it."""

import pytest

from jetmesh.console.access import Access, Caller, NotAllowed, Role
from jetmesh.console.settings import ConsoleSettings
from jetmesh.settings import SettingsError, read
from tests.console.conftest import ConsoleOf
from tests.support.tollgate import tollgate

OPERATOR, VIEWER = "o" * 32, "v" * 32


def _access(**variables: str) -> Access:
    return Access(read(ConsoleSettings, {f"JETMESH_CONSOLE_{name.upper()}": v for name, v in variables.items()}))


def _asked(client: str = "127.0.0.1", **headers: str) -> Caller:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Caller(client, {"host": "localhost:8088", **named})


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"HOST": "0.0.0.0"}, "set JETMESH_CONSOLE_TOKEN"),
        ({"HOST": "nats.example"}, "set JETMESH_CONSOLE_TOKEN"),
        ({"TOKEN": "short"}, "JETMESH_CONSOLE_TOKEN is short"),
        ({"PROXIES": "10.0.0.0/99"}, "JETMESH_CONSOLE_PROXIES"),
    ],
    ids=["all-addresses", "a-name", "short-token", "no-network"],
)
def test_a_console_that_would_let_everybody_in_does_not_start(variables: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        read(ConsoleSettings, {f"JETMESH_CONSOLE_{name}": value for name, value in variables.items()})


def test_on_loopback_everybody_is_an_operator_under_a_name_of_this_machine() -> None:
    assert _access().user(_asked()).role is Role.OPERATOR
    with pytest.raises(NotAllowed, match="open to this machine alone"):
        _access().user(_asked(host="evil.example:8088"))


def test_a_token_is_a_role() -> None:
    access = _access(token=OPERATOR, viewer_token=VIEWER)
    assert access.user(_asked(authorization=f"Bearer {OPERATOR}")).role is Role.OPERATOR
    assert access.user(_asked(authorization=f"Bearer {VIEWER}")).role is Role.VIEWER
    for wrong in ({"authorization": "Bearer nothing"}, {"authorization": "Bearer "}, {}):
        with pytest.raises(NotAllowed):
            access.user(_asked(**wrong))


def test_the_headers_of_a_proxy_count_from_its_network_alone() -> None:
    access = _access(proxies="10.1.0.0/16", operators="mesh-operators,ada@example.com")
    told = {"x_forwarded_email": "eve@example.com", "x_forwarded_groups": "staff, mesh-operators"}
    assert access.user(_asked("10.1.2.3", **told)).role is Role.OPERATOR
    assert access.user(_asked("10.1.2.3", x_forwarded_email="ada@example.com")).role is Role.OPERATOR
    assert access.user(_asked("10.1.2.3", x_forwarded_user="bob")).role is Role.VIEWER
    with pytest.raises(NotAllowed):
        access.user(_asked("10.2.0.1", **told))


def test_an_action_needs_the_token_of_its_form() -> None:
    access = _access()
    user = access.user(_asked())
    access.check_action(user, access.form_token(user))
    for wrong in ("", access.form_token(access.user(_asked())), "ü"):
        with pytest.raises(NotAllowed):
            access.check_action(user, wrong)


def test_viewers_and_read_only_consoles_change_nothing() -> None:
    viewers = _access(token=OPERATOR, viewer_token=VIEWER, hide_bodies="true")
    viewer = viewers.user(_asked(authorization=f"Bearer {VIEWER}"))
    assert (viewers.may_act(viewer), viewers.sees_bodies(viewer)) == (False, False)
    with pytest.raises(NotAllowed, match="viewer"):
        viewers.check_action(viewer, "")
    closed = _access(read_only="true")
    with pytest.raises(NotAllowed, match="read-only"):
        closed.check_action(closed.user(_asked()), "")


def test_a_session_is_signed_and_ends() -> None:
    access = _access(token=OPERATOR, viewer_token=VIEWER)
    session = access.session(Role.VIEWER)
    assert access.user(_asked(cookie=f"jetmesh_console={session}")).role is Role.VIEWER
    for forged in (session.replace("viewer", "operator"), session[:-1], "", "a.b.c.d", '"'):
        with pytest.raises(NotAllowed):
            access.user(_asked(cookie=f"jetmesh_console={forged}"))


async def test_a_browser_logs_in_with_a_token_and_out_again(console_of: ConsoleOf) -> None:
    browser = await console_of([tollgate()], token=OPERATOR)
    assert (await browser.get("/mesh")).headers["location"] == "/mesh/login"
    assert (await browser.get("/mesh/live", headers={"Authorization": "Bearer wrong-token"})).status_code == 401
    wrong = await browser.post("/mesh/login", data={"token": "nothing"})
    assert (wrong.status_code, "opens nothing" in wrong.text) == (401, True)
    assert (await browser.post("/mesh/login", data={"token": OPERATOR})).headers["location"] == "/mesh"
    assert "Flow" in (await browser.get("/mesh")).text
    await browser.post("/mesh/logout")
    assert (await browser.get("/mesh")).status_code == 303


async def test_every_answer_forbids_scripts_of_others(console_of: ConsoleOf) -> None:
    browser = await console_of([tollgate()])
    for path in ("/mesh", "/mesh/nothing"):
        answer = await browser.get(path)
        policy = answer.headers["content-security-policy"]
        assert [word in policy for word in ("unsafe", "default-src 'none'", "script-src 'self'")] == [False, True, True]
        assert [inline for inline in ("<script>", " style=") if inline in answer.text] == []


async def test_what_another_site_sends_is_refused(console_of: ConsoleOf) -> None:
    browser = await console_of([tollgate()], token=OPERATOR)
    told = await browser.post("/mesh/login", data={"token": OPERATOR}, headers={"Origin": "http://evil.example"})
    assert (told.status_code, told.headers.get("set-cookie")) == (403, None)
