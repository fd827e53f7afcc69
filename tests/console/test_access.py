"""Who may see the mesh, who may change it, and that no other site can make a browser do it."""

import hmac
import re
import time
from base64 import b64encode
from hashlib import sha256
from html import escape

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
        ({"PROXY_SECRET": "s" * 16}, "name its network, JETMESH_CONSOLE_PROXIES"),
        ({"PROXIES": "10.0.0.0/8", "PROXY_SECRET": "short"}, "JETMESH_CONSOLE_PROXY_SECRET is short"),
        ({"TOKEN": OPERATOR, "VIEWER_TOKEN": OPERATOR}, "JETMESH_CONSOLE_VIEWER_TOKEN is the operators' token"),
    ],
    ids=["all-addresses", "a-name", "short-token", "no-network", "no-proxy", "short-secret", "one-token"],
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


def test_a_header_that_a_proxy_lets_through_says_nothing() -> None:
    """oauth2-proxy takes only what it sets itself from a browser's request."""
    access = _access(proxies="10.1.0.0/16", operators="ada@example.com,mesh-operators")
    told = {"x_forwarded_email": "eve@example.com", "x_auth_request_email": "ada@example.com"}
    user = access.user(_asked("10.1.2.3", x_auth_request_groups="mesh-operators", **told))
    assert (user.name, user.role) == ("eve@example.com", Role.VIEWER)


def test_a_proxy_shows_its_secret_where_there_is_one() -> None:
    access = _access(proxies="10.1.0.0/16", proxy_secret="p" * 16)
    told = {"x_forwarded_email": "ada@example.com"}
    basic = f"Basic {b64encode(b'ada@example.com:' + b'p' * 16).decode()}"
    assert access.user(_asked("10.1.2.3", authorization=basic, **told)).name == "ada@example.com"
    for wrong in ({}, {"authorization": "Basic !"}, {"authorization": f"Basic {b64encode(b'ada:no').decode()}"}):
        with pytest.raises(NotAllowed):
            access.user(_asked("10.1.2.3", **wrong, **told))


def test_who_knows_the_viewers_token_signs_no_session_of_an_operator() -> None:
    access = _access(viewer_token=VIEWER)
    guessed = sha256(f"jetmesh console {VIEWER}".encode()).digest()
    said = f"operator.{int(time.time()) + 1_000}.x"
    forged = f"{said}.{hmac.new(guessed, said.encode(), sha256).hexdigest()}"
    with pytest.raises(NotAllowed):
        access.user(_asked(cookie=f"jetmesh_console={forged}"))


def test_an_action_needs_the_token_of_its_form() -> None:
    access = _access()
    user = access.user(_asked())
    access.check_form(user, access.form_token(user))
    with pytest.raises(NotAllowed):
        access.check_form(user, _access().form_token(user))
    for wrong in ("", "ü"):
        with pytest.raises(NotAllowed):
            access.check_form(user, wrong)


def test_a_form_is_of_the_user_to_whom_it_was_shown() -> None:
    access = _access(proxies="10.1.0.0/16", operators="ada@example.com,bob@example.com")
    ada, bob = (access.user(_asked("10.1.2.3", x_forwarded_email=f"{who}@example.com")) for who in ("ada", "bob"))
    access.check_form(ada, access.form_token(ada))
    with pytest.raises(NotAllowed, match="too old"):
        access.check_form(bob, access.form_token(ada))


def test_viewers_and_read_only_consoles_change_nothing() -> None:
    viewers = _access(token=OPERATOR, viewer_token=VIEWER, hide_bodies="true")
    viewer = viewers.user(_asked(authorization=f"Bearer {VIEWER}"))
    assert (viewers.may_act(viewer), viewers.sees_bodies(viewer)) == (False, False)
    with pytest.raises(NotAllowed, match="viewer"):
        viewers.require_may_act(viewer)
    closed = _access(read_only="true")
    with pytest.raises(NotAllowed, match="read-only"):
        closed.require_may_act(closed.user(_asked()))


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


@pytest.mark.parametrize(
    ("to", "leads_to"),
    [
        ("/mesh/story?path=a%20%3D%201&in=letters", "/mesh/story?path=a%20%3D%201&in=letters"),
        ("/mesh?at=2026-11-30T06:00:00Z", "/mesh?at=2026-11-30T06:00:00Z"),
        ("/meshes", "/mesh"),
        ("//evil.example/mesh", "/mesh"),
        ("/mesh\nSet-Cookie: a=b", "/mesh"),
    ],
    ids=["search", "moment", "elsewhere", "other-site", "line"],
)
async def test_who_logs_in_comes_to_the_address_that_he_was_given(
    console_of: ConsoleOf, to: str, leads_to: str
) -> None:
    browser = await console_of([tollgate()], token=OPERATOR)
    if to == leads_to:
        form = await browser.get(to, follow_redirects=True)
        assert re.findall(r'name="to" value="([^"]+)"', form.text) == [escape(to)]
    told = await browser.post("/mesh/login", data={"token": OPERATOR, "to": to})
    assert told.headers["location"] == leads_to


async def test_an_address_that_is_too_long_to_be_kept_leads_to_the_login(console_of: ConsoleOf) -> None:
    browser = await console_of([tollgate()], token=OPERATOR)
    assert (await browser.get(f"/mesh/story?path={'x' * 2_000}")).headers["location"] == "/mesh/login"


async def test_who_may_not_act_is_told_why(console_of: ConsoleOf) -> None:
    refused = await (await console_of([tollgate()], read_only="true")).post("/mesh/streams/pause")
    assert (refused.status_code, "Do it in one without --read-only" in refused.text) == (403, True)
    nobody = await (await console_of([tollgate()], proxies="10.0.0.0/8")).get("/mesh")
    assert (nobody.status_code, "come by the address of the OIDC proxy" in nobody.text) == (401, True)


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


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({f"field-{number}": "x" for number in range(200)}, 413),
        ({"token": "x" * 5_000}, 413),
        ({"token": "\0\r\nSet-Cookie: a=b\u202e"}, 401),
    ],
    ids=["many-fields", "large", "control-characters"],
)
async def test_a_form_that_no_page_has_is_refused(console_of: ConsoleOf, form: dict[str, str], status: int) -> None:
    browser = await console_of([tollgate()], token=OPERATOR)
    assert (await browser.post("/mesh/login", data=form)).status_code == status


async def test_nobody_is_told_anything_before_he_logs_in(console_of: ConsoleOf) -> None:
    browser = await console_of([tollgate()], token=OPERATOR)
    for path in (
        "/mesh/loginx",
        "/mesh/login/..",
        "/mesh/livez/x",
        "/mesh/log.csv",
        "/mesh/live",
        "/mesh/streams/pause",
    ):
        answer = await browser.get(path)
        assert answer.headers["location"].partition("?")[0] == "/mesh/login", (path, answer.status_code)
    for name in ("../app.py", "..%2fapp.py", "%2e%2e/app.py", "console/../../app.py", "/etc/passwd"):
        assert (await browser.get(f"/assets/x/{name}")).status_code in (303, 307, 404)


async def test_an_action_by_an_address_changes_nothing(console_of: ConsoleOf) -> None:
    browser = await console_of([tollgate()])
    for path in ("/mesh/streams/pause", "/mesh/letters/1/replay", "/mesh/letters/1/discard", "/mesh/logout"):
        assert (await browser.get(f"{path}?reaction=tolls.charge&length=1+hour")).status_code == 405


async def test_a_link_of_another_site_puts_no_words_on_a_page(console_of: ConsoleOf) -> None:
    browser = await console_of([tollgate()])
    said = "/mesh/streams?done=Call+this+number"
    assert "Call this number" in (await browser.get(said)).text
    assert "Call this number" not in (await browser.get(said, headers={"Sec-Fetch-Site": "cross-site"})).text


async def test_a_cookie_is_for_this_site_alone(console_of: ConsoleOf) -> None:
    browser = await console_of([tollgate()], token=OPERATOR)
    answer = await browser.post("/mesh/login", data={"token": OPERATOR}, headers={"X-Forwarded-Proto": "https"})
    flags = {flag.strip().lower() for flag in answer.headers["set-cookie"].split(";")}
    assert {"httponly", "samesite=strict", "path=/mesh", "secure"} <= flags


async def test_who_names_another_client_is_not_believed(console_of: ConsoleOf) -> None:
    browser = await console_of([tollgate()], proxies="10.1.0.0/16")
    told = {"X-Forwarded-For": "10.1.2.3", "X-Forwarded-Email": "ada@example.com"}
    assert (await browser.get("/mesh", headers=told)).status_code == 401
