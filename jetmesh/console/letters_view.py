"""`/mesh/letters`: dead letters by group, one letter whole, and what an operator does with them."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jetmesh.common import lenient
from jetmesh.console import body
from jetmesh.console.access import NotAllowed
from jetmesh.console.desk import Desk, back, desk_of, form
from jetmesh.console.jobs import LetterJob
from jetmesh.console.letters import FailureGroup, page_of
from jetmesh.jetstream.subject import Subject
from jetmesh.operate.dead_letters import AlreadyHandled, DeadLetter, DeadLetters
from jetmesh.operate.replay import Unfit

PAGE = 50
CANARIES = {"1": 1, "10": 10, "all": 0}
"""How many letters of a group a replay takes; 0: all."""
RATE_MAX = 1_000.0


@dataclass(frozen=True, slots=True)
class LetterRow:
    """A letter in a list: what is known of it without its body."""

    sequence: int
    letter: DeadLetter
    is_again: bool

    @property
    def key(self) -> str:
        """The key of its event."""
        return Subject.parse(self.letter.source).key


async def groups(request: Request) -> Response:
    """All groups, or those of a reaction or with a text."""
    desk = desk_of(request)
    await desk.letters.refresh()
    reaction, text = (request.query_params.get(name, "") for name in ("reaction", "text"))
    found = [group for group in desk.letters.largest if _is_wanted(group, reaction, text)]
    reactions = sorted({group.name.reaction for group in desk.letters.groups.values()})
    return desk.page(
        request, "letters.html", groups=found, reactions=reactions, reaction=reaction, text=text,
        count=desk.letters.count,
    )  # fmt: skip


def _is_wanted(group: FailureGroup, reaction: str, text: str) -> bool:
    name = group.name
    mine = reaction in ("", name.reaction, name.reaction.partition(".")[0])
    return mine and text.lower() in f"{name.kind}\n{name.frame}".lower()


async def group(request: Request) -> Response:
    """The letters of one group, the newest first."""
    desk = desk_of(request)
    await desk.letters.refresh()
    group_id = request.path_params["group"]
    found = desk.letters.groups.get(group_id)
    jobs = desk.jobs.of(group_id)
    before = lenient.whole(request.query_params.get("before", ""))
    sequences, left = page_of(found, before, PAGE) if found else ([], 0)
    rows = await _rows(desk, request, sequences)
    return desk.page(
        request, "group.html", group=found, jobs=jobs, rows=rows, before=before,
        next_before=sequences[-1] if left else 0, canaries=CANARIES, newest=max(found.times, default=0) if found else 0,
    )  # fmt: skip


async def _rows(desk: Desk, request: Request, sequences: Sequence[int]) -> list[LetterRow]:
    """The letters that are still there; those that are not are forgotten."""
    letters = {letter.sequence: letter for letter in await _post(desk, request).some(sequences)}
    desk.letters.drop(sequence for sequence in sequences if sequence not in letters)
    known = (sequence for sequence in sequences if sequence in letters)
    return [LetterRow(sequence, letters[sequence], desk.letters.is_again(sequence)) for sequence in known]


async def letter(request: Request) -> Response:
    """One letter, whole."""
    desk = desk_of(request)
    found = await _existing(desk, request)
    event_type = desk.event_type(Subject.parse(found.source).type)
    sees = desk.access.sees_bodies(request.scope["user"])
    return desk.page(
        request, "letter.html", letter=found, event_type=event_type, sees_bodies=sees,
        body=body.shown(found.data, event_type) if sees else None, key=Subject.parse(found.source).key,
        is_again=desk.letters.is_again(found.sequence), error=request.query_params.get("error", ""),
    )  # fmt: skip


async def replay_one(request: Request) -> Response:
    """Deliver one letter's message again, to its reaction alone."""
    fields, desk = await form(request), desk_of(request)
    found = await _existing(desk, request)
    try:
        await _post(desk, request).replay(found)
    except Unfit as unfit:
        return back(f"/letters/{found.sequence}", error=str(unfit))
    return back("/letters", done=f"Letter {found.sequence} is replayed to {found.reaction}.", **_kept(fields))


async def discard_one(request: Request) -> Response:
    """Remove one letter for good."""
    fields, desk = await form(request), desk_of(request)
    found = await _existing(desk, request)
    await _post(desk, request).discard(found, _reason(fields))
    return back("/letters", done=f"Letter {found.sequence} is discarded.", **_kept(fields))


async def replay_group(request: Request) -> Response:
    """Replay letters of a group: one, ten or all of those that the operator saw, the oldest first."""
    fields, desk = await form(request), desk_of(request)
    await desk.letters.refresh()
    rate = min(lenient.seconds(fields.get("rate", "")) or 0.0, RATE_MAX)
    post = _post(desk, request)
    job = _job(desk, request, "replay", fields, CANARIES.get(fields.get("count", "1"), 1), max(0.0, rate))
    desk.jobs.start(job, post, post.replay)
    return back(f"/letters/groups/{job.group}")


async def discard_group(request: Request) -> Response:
    """Discard all letters of a group that the operator saw."""
    fields, desk = await form(request), desk_of(request)
    await desk.letters.refresh()
    reason, post = _reason(fields), _post(desk, request)

    async def discard(letter: DeadLetter) -> None:
        await post.discard(letter, reason)

    job = desk.jobs.start(_job(desk, request, "discard", fields, 0, 0.0), post, discard)
    return back(f"/letters/groups/{job.group}")


async def stop_job(request: Request) -> Response:
    """Stop a job after the letter that it is at."""
    await form(request)
    job = desk_of(request).jobs.get(request.path_params["job"])
    if job is None:
        raise HTTPException(404, "There is no such job any more.")
    job.is_stopped = True
    return back(f"/letters/groups/{job.group}")


async def edit(request: Request) -> Response:
    """The body of a letter, to be mended; what the contract says of it; and then, replayed as a new event."""
    desk = desk_of(request)
    if request.method == "POST":
        return await _edited(request)
    found = await _existing(desk, request)
    if not desk.access.may_act(request.scope["user"]):
        raise NotAllowed(403, "Only an operator may edit a letter.")
    text = body.editable(found.data)
    seen = await _post(desk, request).last_entry(found)
    return _edit_page(request, desk, found, text, seen)


async def _edited(request: Request) -> Response:
    fields, desk = await form(request), desk_of(request)
    found = await _existing(desk, request)
    text, seen = fields.get("body", ""), lenient.whole(fields.get("seen", ""))
    data, event_type = text.encode(), desk.event_type(Subject.parse(found.source).type)
    complaints = body.complaints_of(data, event_type) if event_type else []
    if complaints or fields.get("step") != "send":
        return _edit_page(request, desk, found, text, seen, is_checked=True)
    try:
        await _post(desk, request).edit(found, data, seen, fields.get("reason", "").strip())
    except (Unfit, AlreadyHandled) as refused:
        return back(f"/letters/{found.sequence}", error=str(refused))
    return back("/letters", done=f"Letter {found.sequence} is edited, and replayed to {found.reaction} as a new event.")


def _edit_page(
    request: Request, desk: Desk, letter: DeadLetter, text: str, seen: int, *, is_checked: bool = False
) -> Response:
    data, event_type = text.encode(), desk.event_type(Subject.parse(letter.source).type)
    shown = body.shown(data, event_type)
    return desk.page(
        request, "edit.html", letter=letter, text=text, seen=seen, event_type=event_type, body=shown,
        is_checked=is_checked, diff=body.difference(letter.data, data) if is_checked else [],
        complaints=body.complaints_of(data, event_type) if event_type else [],
    )  # fmt: skip


async def log(request: Request) -> Response:
    """What operators did, the newest first; as CSV too."""
    desk = desk_of(request)
    await desk.letters.refresh()
    entries = desk.letters.entries[::-1]
    if request.url.path.endswith(".csv"):
        return Response(_csv([asdict(entry) for entry in entries]), media_type="text/csv; charset=utf-8")
    return desk.page(request, "log.html", entries=entries[:500], count=len(entries))


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(rows[0] if rows else ["action"])
    # A spreadsheet takes what begins so for a formula.
    writer.writerows([f"'{cell}" if str(cell)[:1] in "=+-@\t\r" else cell for cell in row.values()] for row in rows)
    return file.getvalue()


def _job(desk: Desk, request: Request, action: str, fields: dict[str, str], count: int, rate: float) -> LetterJob:
    group = desk.letters.groups.get(request.path_params["group"])
    newest = lenient.whole(fields.get("newest", ""))
    sequences = [sequence for sequence in (group.times if group else ()) if sequence <= newest]
    name = request.path_params["group"]
    return LetterJob(action, name, sequences[: count or None], rate, request.scope["user"].name)


def _reason(fields: dict[str, str]) -> str:
    reason = fields.get("reason", "").strip()
    if not reason:
        raise NotAllowed(422, "Say why: the log keeps the reason.")
    return reason[:500]


def _kept(fields: dict[str, str]) -> dict[str, str]:
    return {"reaction": fields.get("reaction", "")}


def _post(desk: Desk, request: Request) -> DeadLetters:
    context = desk.link.context
    return DeadLetters(context.connection, context.publisher, request.scope["user"].name)


async def _existing(desk: Desk, request: Request) -> DeadLetter:
    """The letter of the address.

    Raises:
        HTTPException: it is not there any more; the text says who took it away.
    """
    sequence = lenient.whole(request.path_params["sequence"])
    found = await _post(desk, request).one(sequence) if 0 < sequence < 1 << 63 else None
    if found is not None and found.service in {service.name for service in desk.services}:
        return found
    await desk.letters.refresh()
    entry = next((entry for entry in reversed(desk.letters.entries) if entry.letter == sequence), None)
    told = f"{entry.by} {entry.action} it at {entry.at}." if entry else "Dead letters lists those that there are."
    raise HTTPException(404, f"There is no dead letter {sequence}: {told}")


ROUTES = [
    Route("/mesh/letters", groups),
    Route("/mesh/letters/groups/{group}", group),
    Route("/mesh/letters/groups/{group}/replay", replay_group, methods=["POST"]),
    Route("/mesh/letters/groups/{group}/discard", discard_group, methods=["POST"]),
    Route("/mesh/letters/jobs/{job}/stop", stop_job, methods=["POST"]),
    Route("/mesh/letters/{sequence}", letter),
    Route("/mesh/letters/{sequence}/replay", replay_one, methods=["POST"]),
    Route("/mesh/letters/{sequence}/discard", discard_one, methods=["POST"]),
    Route("/mesh/letters/{sequence}/edit", edit, methods=["GET", "POST"]),
    Route("/mesh/log", log),
    Route("/mesh/log.csv", log),
]
