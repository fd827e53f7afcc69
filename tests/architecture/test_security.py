"""SECURITY.md says what each key may do: as it is declared, line by line."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from jetmesh.topology import accounts
from jetmesh.topology.accounts import Import
from jetmesh_shop.flow import SERVICES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "SECURITY.md").read_text()
PULL, READ = "$JS.API.CONSUMER.MSG.NEXT.", "$JS.API.DIRECT.GET."
BESIDE = ("$JS.ACK.", "$JS.API.CONSUMER.INFO.")
"""What goes with a pull: to settle what was pulled, and to look at the durable."""


def row(user: str, imports: Iterable[Import], hears: str) -> str:
    """What a user may do, as a line of the table."""
    subjects = [imported.subject for imported in imports]
    says = [subject for subject in subjects if not subject.startswith((PULL, READ, *BESIDE))]
    pulls = [subject.removeprefix(PULL).replace(".", "/") for subject in subjects if subject.startswith(PULL)]
    reads = [subject.removeprefix(READ) for subject in subjects if subject.startswith(READ)]
    cells = (", ".join(f"`{cell}`" for cell in dict.fromkeys(cells)) or "—" for cells in ([user], says, pulls, reads))
    return f"| {' | '.join(cells)} | `{hears}` |"


def table() -> Iterator[str]:
    """The table, from the declarations."""
    yield "| key | may publish | pulls | reads | hears |"
    yield "|---|---|---|---|---|"
    for kind, events in accounts.published(SERVICES).items():
        yield row(kind, [Import(event.type) for event in events], f"{accounts.inbox_of(kind)}.>")
    for service in SERVICES:
        yield row(service.name, accounts.imports_of(service, SERVICES), "_INBOX.>")


def test_the_table_of_keys_is_what_is_declared() -> None:
    shown = PAGE.partition("<!-- keys -->\n")[2].partition("<!-- /keys -->")[0]
    assert shown == "\n".join([*table(), ""])


def test_the_limits_are_those_that_are_set() -> None:
    limits = re.findall(r"[\d,]+", PAGE.partition("**Limits.**")[2].partition("nats-server has")[0])
    said = [int(number.replace(",", "")) for number in limits if number != ","]
    assert said == [accounts.OUTSIDE.connections, accounts.OUTSIDE.subscriptions, 1, accounts.SERVICE.connections]
    assert accounts.OUTSIDE.payload_bytes == 1 << 20


def test_every_setting_and_link_of_the_page_is_there() -> None:
    from jetmesh.settings import Settings, variable

    named = set(re.findall(r"JETMESH_\w+", PAGE)) - {"JETMESH_HTTP_SECRET"}
    assert named <= {variable(Settings, name) for name in Settings.model_fields}
    for target, anchor in re.findall(r"\]\(([^)#]+)#?([^)]*)\)", PAGE):
        headings = re.findall(r"^#+ (.*)$", (ROOT / target).read_text(), re.MULTILINE)
        assert anchor in {heading.lower().replace(" ", "-") for heading in headings}
