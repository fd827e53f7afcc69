"""`/mesh/letters`: dead letters by group, and one letter whole."""

import asyncio
from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import datetime

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jetmesh.common import lenient
from jetmesh.console import search_view
from jetmesh.console.attempts import attempts_of
from jetmesh.console.batches import Batch
from jetmesh.console.desk import Desk, desk_of, said
from jetmesh.console.jobs import LetterJob
from jetmesh.console.letter_contract import LetterContract
from jetmesh.console.letters import FailureGroup
from jetmesh.operate.dead_letters import DeadLetter

PAGE = 50
CANARIES = {"1": 1, "10": 10, "all": 0}
"""How many letters of a group a replay takes; 0: all."""
BATCHES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class LetterRow:
    """A letter in a list: what is known of it without its body."""

    sequence: int
    letter: DeadLetter
    is_again: bool


@dataclass(frozen=True, slots=True)
class ShownBatch:
    """A batch as the log has it, and how far it is in this console, where it runs here."""

    batch: Batch
    job: LetterJob | None
    undone: Set[int]

    @property
    def undoable(self) -> int:
        """How many of its discards were not undone yet."""
        return sum(place not in self.undone for place in self.batch.discards)

    @property
    def is_running(self) -> bool:
        """Whether it is under way, here or in another console; until its end has been read in the log."""
        if self.batch.is_over:
            return False
        return not (self.job.is_over and self.job.trouble) if self.job else not self.batch.is_cut_off

    @property
    def can_go_on(self) -> bool:
        """Whether it was cut off, and an operator can go on with it."""
        return not self.batch.is_over and not self.is_running

    @property
    def succeeded(self) -> int:
        """How many letters it did what it should with."""
        return max(self.batch.succeeded, self.job.succeeded if self.job else 0)

    @property
    def refused(self) -> int:
        """How many it could do nothing with."""
        return max(self.batch.refused, self.batch.note.refused, self.job.refused if self.job else 0)

    @property
    def gone(self) -> int:
        """How many were not there any more."""
        return self.job.gone if self.job else self.batch.note.gone

    @property
    def words(self) -> str:
        """How it stands."""
        if self.is_running:
            return "under way" if self.job else "under way in another console"
        if self.can_go_on:
            return "cut off"
        return "stopped" if self.batch.note.is_stopped else "done"


async def groups(request: Request) -> Response:
    """All groups, or those of a reaction or with a text."""
    desk = desk_of(request)
    await desk.letters.refresh()
    reaction, text = (request.query_params.get(name, "") for name in ("reaction", "text"))
    sees = desk.sees_bodies(request)
    found = [group for group in desk.letters.largest if _is_wanted(group, reaction, text, sees=sees)]
    reactions = sorted({group.name.reaction for group in desk.letters.groups.values()})
    return desk.page(
        request, "letters.html", groups=found, reactions=reactions, reaction=reaction, text=text,
        count=desk.letters.count, progress=desk.letters.progress, undo=_undo(request),
        cut_off=[each for each in _shown(desk, desk.letters.batches.open()) if each.can_go_on],
    )  # fmt: skip


def _is_wanted(group: FailureGroup, reaction: str, text: str, *, sees: bool) -> bool:
    name = group.name
    mine = reaction in ("", name.reaction, name.reaction.partition(".")[0])
    return mine and text.lower() in f"{name.said(sees=sees)}\n{name.frame}".lower()


def _undo(request: Request) -> int:
    """The entry of the log that the operator may undo: what he did just now."""
    return lenient.whole(request.query_params.get("undo", ""))


def _shown(desk: Desk, batches: Sequence[Batch]) -> list[ShownBatch]:
    return [ShownBatch(batch, desk.jobs.get(batch.note.id), desk.letters.undone) for batch in batches]


async def group(request: Request) -> Response:
    """The letters of one group, the newest first."""
    desk = desk_of(request)
    await desk.letters.refresh()
    group_id = request.path_params["group"]
    found = desk.letters.groups.get(group_id)
    before = lenient.whole(request.query_params.get("before", ""))
    sequences, left = found.page(before, PAGE) if found else ([], 0)
    rows = await _rows(desk, request, sequences)
    found = desk.letters.groups.get(group_id)
    return desk.page(
        request, "group.html", group=found, rows=rows, before=before, progress=desk.letters.progress,
        batches=_shown(desk, list(desk.letters.batches.of(group_id))[:BATCHES_SHOWN]),
        next_before=sequences[-1] if left else 0, canaries=CANARIES, newest=found.sequences[-1] if found else 0,
        error=said(request, "error"),
    )  # fmt: skip


async def _rows(desk: Desk, request: Request, sequences: Sequence[int]) -> list[LetterRow]:
    """The letters that are still there; those that are not are forgotten."""
    letters = {letter.sequence: letter for letter in await desk.post(request).some(sequences)}
    desk.letters.drop(sequence for sequence in sequences if sequence not in letters)
    known = (sequence for sequence in sequences if sequence in letters)
    return [LetterRow(sequence, letters[sequence], desk.letters.is_again(sequence)) for sequence in known]


async def letter(request: Request) -> Response:
    """One letter, whole."""
    desk = desk_of(request)
    found = await existing(desk, request)
    contract = LetterContract(desk, found)
    shown = await asyncio.to_thread(contract.shown, found.data) if desk.sees_bodies(request) else None
    attempts = await asyncio.to_thread(attempts_of, desk.places.traces, found, contract.key)
    return desk.page(
        request, "letter.html", letter=found, event_type=contract.event_type, key=contract.key,
        body=shown, has_message=_has_message(desk, found), attempts=attempts,
        is_again=desk.letters.is_again(found.sequence), error=said(request, "error"),
    )  # fmt: skip


def _has_message(desk: Desk, letter: DeadLetter) -> bool:
    """Whether the console shows the message that a letter is about, if it is there."""
    return search_view.shows(desk, letter.position[0], letter.source)


async def existing(desk: Desk, request: Request) -> DeadLetter:
    """The letter of the address.

    Raises:
        HTTPException: it is not there any more; the text says who took it away.
    """
    sequence = lenient.whole(request.path_params["sequence"])
    post = desk.post(request)
    found = await post.one(sequence) if 0 < sequence < 1 << 63 else None
    if found is not None and found.service in {service.name for service in desk.services}:
        return found
    await desk.letters.refresh()
    place = desk.letters.entry_about(sequence)
    logged = await post.entry_at(place) if place else None
    told = "Dead letters lists those that there are."
    if logged:
        told = f"{logged.entry.by} {logged.entry.action} it at {_utc(logged.entry.at)}; the log says why."
    raise HTTPException(404, f"There is no dead letter {sequence}: {told}")


def _utc(time: str) -> str:
    return f"{datetime.fromisoformat(time):%Y-%m-%d %H:%M:%S} UTC"


ROUTES = [
    Route("/mesh/letters", groups),
    Route("/mesh/letters/groups/{group}", group),
    Route("/mesh/letters/{sequence}", letter),
]
