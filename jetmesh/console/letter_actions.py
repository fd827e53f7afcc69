"""What an operator does with dead letters: replay, edit, discard, bring back; one, or many in a batch."""

from collections.abc import Sequence
from dataclasses import replace
from uuid import uuid4

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jetmesh.common import lenient
from jetmesh.console import body
from jetmesh.console.access import NotAllowed
from jetmesh.console.batches import Batch
from jetmesh.console.desk import Desk, back, desk_of, form
from jetmesh.console.jobs import LetterJob, LetterStep, bringing_back, discarding, replaying
from jetmesh.console.letter_contract import LetterContract
from jetmesh.console.letters_view import CANARIES, existing
from jetmesh.operate.dead_letters import AlreadyHandled, DeadLetter, DeadLetters
from jetmesh.operate.operator_log import BatchNote, BatchState
from jetmesh.operate.replay import Unfit

RATE_MAX = 1_000.0
REPLAY, DISCARD, BRING_BACK = "replay", "discard", "bring back"


async def replay_one(request: Request) -> Response:
    """Deliver one letter's message again, to its reaction alone."""
    fields, desk = await form(request), desk_of(request)
    found = await existing(desk, request)
    try:
        await desk.post(request).replay(found)
    except Unfit as unfit:
        return back(f"/letters/{found.sequence}", error=str(unfit))
    return back("/letters", done=f"Letter {found.sequence} is replayed to {found.reaction}.", **_kept(fields))


async def discard_one(request: Request) -> Response:
    """Remove one letter."""
    fields, desk = await form(request), desk_of(request)
    found = await existing(desk, request)
    entry = await desk.post(request).discard(found, _reason(fields))
    return back("/letters", done=f"Letter {found.sequence} is discarded.", undo=entry, **_kept(fields))


async def undo(request: Request) -> Response:
    """Bring back the letter that an entry of the log discarded."""
    await form(request)
    desk, place = desk_of(request), lenient.whole(request.path_params["entry"])
    try:
        sequence = await desk.post(request).bring_back(place)
    except (Unfit, AlreadyHandled) as refused:
        return back("/log", error=str(refused))
    return back(f"/letters/{sequence}", done="The letter is brought back; it has a new number.")


async def replay_group(request: Request) -> Response:
    """Replay letters of a group: one, ten or all of those that the operator saw, the oldest first."""
    fields, desk = await form(request), desk_of(request)
    await desk.letters.refresh()
    rate = max(0.0, min(lenient.seconds(fields.get("rate", "")) or 0.0, RATE_MAX))
    note = _note(desk, request, REPLAY, fields, CANARIES.get(fields.get("count", "1"), 1))
    return await _started(desk, request, replace(note, rate=rate))


async def discard_group(request: Request) -> Response:
    """Discard all letters of a group that the operator saw."""
    fields, desk = await form(request), desk_of(request)
    await desk.letters.refresh()
    note = replace(_note(desk, request, DISCARD, fields, 0), reason=_reason(fields))
    return await _started(desk, request, note)


async def undo_batch(request: Request) -> Response:
    """Bring back what a batch discarded."""
    await form(request)
    desk = desk_of(request)
    batch = await _batch(desk, request)
    note = replace(
        batch.note, id=_new_id(), state=BatchState.BEGAN, action=BRING_BACK, total=len(_undoable(desk, batch.note.id)),
        undoes=batch.note.id,
    )  # fmt: skip
    return await _started(desk, request, note, batch.reaction)


async def continue_batch(request: Request) -> Response:
    """Go on with a batch that was cut off. The letter that may have been sent is left to the operator."""
    await form(request)
    desk = desk_of(request)
    batch, job = await _batch(desk, request), desk.jobs.get(request.path_params["batch"])
    if batch.is_over or not (job.is_over if job else batch.is_cut_off):
        return back(f"/letters/groups/{batch.note.group}", error="This batch is over, or still under way.")
    note, items = batch.note, _items(desk, batch.note)
    left = items if note.undoes else [item for item in items if item > batch.position]
    gone = max(0, note.total - batch.succeeded - batch.refused - len(left))
    unsure = left[0] if left and note.action == REPLAY else 0
    name = request.scope["user"].name
    resumed = LetterJob(note, batch.reaction, name, left, batch.seen, batch.succeeded, gone, batch.refused)
    return await _run(desk, request, resumed, unsure)


async def stop_batch(request: Request) -> Response:
    """Stop a batch after the letter that it is at."""
    await form(request)
    job = desk_of(request).jobs.get(request.path_params["batch"])
    if job is None:
        raise HTTPException(404, "This batch does not run in this console.")
    job.stopping.set()
    return back(f"/letters/groups/{job.note.group}")


async def edit(request: Request) -> Response:
    """The body of a letter, to be mended; what the contract says of it; and then, replayed as a new event."""
    desk = desk_of(request)
    if request.method == "POST":
        return await _edited(request)
    found = await existing(desk, request)
    desk.access.require_may_act(request.scope["user"])
    text = body.editable(found.data)
    seen = await desk.post(request).last_entry(found)
    return _edit_page(request, desk, found, text, seen)


async def _edited(request: Request) -> Response:
    fields, desk = await form(request), desk_of(request)
    found = await existing(desk, request)
    text, seen = fields.get("body", ""), lenient.whole(fields.get("seen", ""))
    data = text.encode()
    if LetterContract(desk, found).complaints(data) or fields.get("step") != "send":
        return _edit_page(request, desk, found, text, seen, is_checked=True)
    diff = "\n".join(f"{line.sign or ' '} {line.text}" for line in body.difference(found.data, data))
    try:
        await desk.post(request).edit(found, data, seen, fields.get("reason", "").strip(), diff)
    except (Unfit, AlreadyHandled) as refused:
        return back(f"/letters/{found.sequence}", error=str(refused))
    return back("/letters", done=f"Letter {found.sequence} is edited, and replayed to {found.reaction} as a new event.")


def _edit_page(
    request: Request, desk: Desk, letter: DeadLetter, text: str, seen: int, *, is_checked: bool = False
) -> Response:
    data, contract = text.encode(), LetterContract(desk, letter)
    return desk.page(
        request, "edit.html", letter=letter, text=text, seen=seen, event_type=contract.event_type,
        body=contract.shown(data), is_checked=is_checked, complaints=contract.complaints(data),
        diff=body.difference(letter.data, data) if is_checked else [],
    )  # fmt: skip


def _note(desk: Desk, request: Request, action: str, fields: dict[str, str], count: int) -> BatchNote:
    """The note of a batch about the letters of a group that the operator saw; of so many of them, unless it is 0."""
    group = desk.letters.groups.get(request.path_params["group"])
    if group is None:
        raise HTTPException(404, "This group has no letters any more.")
    newest = lenient.whole(fields.get("newest", ""))
    seen = group.up_to(newest)
    chosen = seen[:count] if count else []
    return BatchNote(
        _new_id(), BatchState.BEGAN, action, group.id, words=group.name.kind[:300], total=len(chosen or seen),
        newest=newest, chosen=chosen,
    )  # fmt: skip


def _new_id() -> str:
    return uuid4().hex[:12]


def _items(desk: Desk, note: BatchNote) -> Sequence[int]:
    """What a batch is about: letters that are there, or the entries of the discards that it undoes."""
    if note.undoes:
        return _undoable(desk, note.undoes)
    group = desk.letters.groups.get(note.group)
    return note.chosen or (group.up_to(note.newest) if group else [])


def _undoable(desk: Desk, batch_id: str) -> list[int]:
    """Where the discards of a batch stand that were not undone yet."""
    batch = desk.letters.batches.get(batch_id)
    return [place for place in batch.discards if place not in desk.letters.undone] if batch else []


async def _started(desk: Desk, request: Request, note: BatchNote, reaction: str = "") -> Response:
    reaction = reaction or desk.letters.groups[note.group].name.reaction
    job = LetterJob(note, reaction, request.scope["user"].name, _items(desk, note))
    return await _run(desk, request, job)


async def _run(desk: Desk, request: Request, job: LetterJob, unsure: int = 0) -> Response:
    where, post = f"/letters/groups/{job.note.group}", desk.post(request)
    try:
        await desk.jobs.start(job, post, _step(post, job.note, unsure))
    except AlreadyHandled as elsewhere:
        return back(where, error=str(elsewhere))
    return back(where)


def _step(post: DeadLetters, note: BatchNote, unsure: int) -> LetterStep:
    if note.action == DISCARD:
        return discarding(post, note.id, note.reason)
    return bringing_back(post, note.id) if note.undoes else replaying(post, note.id, unsure)


async def _batch(desk: Desk, request: Request) -> Batch:
    """The batch of the address.

    Raises:
        HTTPException: the log has none.
    """
    await desk.letters.refresh()
    if found := desk.letters.batches.get(request.path_params["batch"]):
        return found
    raise HTTPException(404, "The log knows no such batch.")


def _reason(fields: dict[str, str]) -> str:
    reason = fields.get("reason", "").strip()
    if not reason:
        raise NotAllowed(422, "Say why: the log keeps the reason.")
    return reason[:500]


def _kept(fields: dict[str, str]) -> dict[str, str]:
    return {"reaction": fields.get("reaction", "")}


ROUTES = [
    Route("/mesh/letters/groups/{group}/replay", replay_group, methods=["POST"]),
    Route("/mesh/letters/groups/{group}/discard", discard_group, methods=["POST"]),
    Route("/mesh/letters/batches/{batch}/stop", stop_batch, methods=["POST"]),
    Route("/mesh/letters/batches/{batch}/continue", continue_batch, methods=["POST"]),
    Route("/mesh/letters/batches/{batch}/undo", undo_batch, methods=["POST"]),
    Route("/mesh/letters/{sequence}/replay", replay_one, methods=["POST"]),
    Route("/mesh/letters/{sequence}/discard", discard_one, methods=["POST"]),
    Route("/mesh/letters/{sequence}/edit", edit, methods=["GET", "POST"]),
    Route("/mesh/log/{entry}/undo", undo, methods=["POST"]),
]
