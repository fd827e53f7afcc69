"""The table of keys in SECURITY.md: what each user of the broker may do."""

from collections.abc import Iterable, Iterator, Sequence

from jetmesh.contracts import outside
from jetmesh.service import Service
from jetmesh.topology import accounts, console_users
from jetmesh.topology.accounts import Import

PULL, READ = "$JS.API.CONSUMER.MSG.NEXT.", "$JS.API.DIRECT.GET."
PAUSE = "$JS.API.CONSUMER.PAUSE."
PAUSES = f"{PAUSE}<stream>.<durable>"
BESIDE = ("$JS.ACK.", "$JS.API.CONSUMER.INFO.")
"""What goes with a pull: to settle what was pulled, and to look at the durable."""


def markdown(services: Sequence[Service]) -> str:
    """The table, from the declarations."""
    return "\n".join(_lines(services))


def _lines(services: Sequence[Service]) -> Iterator[str]:
    yield "| key | may publish | pulls | reads | hears |"
    yield "|---|---|---|---|---|"
    for kind, events in accounts.published(services).items():
        yield _row(kind, [Import(event.type) for event in events], f"{accounts.inbox_of(kind)}.>")
    for user in outside.users(services):
        yield _row(user.name, accounts.outside_imports(user), f"{accounts.inbox_of(user.name)}.>")
    for service in services:
        yield _row(service.name, accounts.imports_of(service, services), "_INBOX.>")
    acts, looks = console_users.operator_imports(services), console_users.viewer_imports(services)
    reads = [each for each in looks if each.subject.startswith(READ)]
    changes = [Import(PAUSES) if each.subject.startswith(PAUSE) else each for each in acts if each not in looks]
    yield _row(accounts.CONSOLE, [*changes, *reads], "_INBOX.>")
    yield _row(accounts.VIEWER, reads, "_INBOX.>")


def _row(user: str, imports: Iterable[Import], hears: str) -> str:
    subjects = [imported.subject for imported in imports]
    says = [subject for subject in subjects if not subject.startswith((PULL, READ, *BESIDE))]
    pulls = [subject.removeprefix(PULL).replace(".", "/") for subject in subjects if subject.startswith(PULL)]
    reads = [subject.removeprefix(READ) for subject in subjects if subject.startswith(READ)]
    cells = (", ".join(f"`{cell}`" for cell in dict.fromkeys(cells)) or "—" for cells in ([user], says, pulls, reads))
    return f"| {' | '.join(cells)} | `{hears}` |"
