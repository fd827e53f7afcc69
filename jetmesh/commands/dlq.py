"""`jetmesh dlq`: dead letters, why they failed, and how to replay, discard or bring them back."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from jetmesh import app as apps
from jetmesh.commands import options
from jetmesh.commands.options import Figure
from jetmesh.commands.target import reach, settings_of_target
from jetmesh.common import lenient
from jetmesh.common.console import Console, field
from jetmesh.common.own_name import own_name
from jetmesh.common.terminal import say
from jetmesh.common.terminal import show as show_json
from jetmesh.common.visible import lines
from jetmesh.contracts import deployed
from jetmesh.jetstream.transport import Transport
from jetmesh.operate.dead_letters import (
    EVERYTHING,
    AlreadyHandled,
    DeadLetter,
    DeadLetters,
    Filter,
    LetterGroup,
    grouped,
)
from jetmesh.operate.replay import Unfit

REACTION = click.option("--reaction", default="", metavar="SERVICE[.REACTION]", help="Only letters of this reaction.")
REASON = click.option(
    "--reason", default="", metavar="TEXT", help="Only letters with this text in the error or the reason."
)
JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object or list, for programs.")
ALL = click.option("--all", "everything", is_flag=True, help="All letters.")
LIMIT = click.option("--limit", type=click.IntRange(min=1), help="At most so many letters, the oldest first.")
RATE = click.option("--rate", type=Figure(min=0.1), help="At most so many letters a second.")
DRY_RUN = click.option("--dry-run", is_flag=True, help="Show the letters, and change nothing.")
SEQUENCE = click.IntRange(1, (1 << 64) - 1)
IDS = click.argument("ids", nargs=-1, type=SEQUENCE, metavar="[ID]...")

BODY_MAX = 4_000


@click.group()
def dlq() -> None:
    """Dead letters: list them, show one, replay them to their reaction, discard them, or undo a discard.

    Where several apps share a broker, those of the app that --app, JETMESH_APP or pyproject.toml names; those of all
    apps where nothing names one.
    """


@dlq.command("list")
@REACTION
@REASON
@click.option("--each", is_flag=True, help="One line a letter, with its ID, instead of groups.")
@LIMIT
@JSON
@options.app
def list_(reaction: str, reason: str, each: bool, limit: int | None, as_json: bool, app: str) -> None:
    """List dead letters, grouped by reaction and reason."""
    letters = _run(_choose((), Filter(reaction, reason), limit, app))
    if as_json:
        _print_json([summary(letter) for letter in letters] if each else [_as_json(g) for g in grouped(letters)])
    elif not letters:
        say("no dead letters")
    else:
        Console().print(_table_of_letters(letters) if each else _table_of_groups(grouped(letters)))


@dlq.command()
@click.argument("id", type=SEQUENCE)
@JSON
def show(id: int, as_json: bool) -> None:
    """Show one letter: why it failed, with the traceback, where it came from, its trace, headers and body."""
    (letter,) = _run(_choose((id,), EVERYTHING, None))
    if as_json:
        _print_json(
            {
                **summary(letter),
                "traceback": letter.traceback,
                "headers": letter.original,
                "data": letter.data.decode("utf-8", "replace"),
            }
        )
    else:
        _print_whole(letter, Console())


@dlq.command()
@IDS
@REACTION
@REASON
@ALL
@LIMIT
@RATE
@DRY_RUN
@JSON
@options.app
def replay(ids: tuple[int, ...], rate: float | None, dry_run: bool, as_json: bool, **chosen: Any) -> None:
    """Send letters to the reaction that failed, and to no other.

    Name them by ID, or by --reaction and --reason, or use --all. The events keep their id and their trace, and the
    attempts start again; an event that was handled meanwhile does nothing. A letter that fails again appears again. The
    message in the stream of origin is delivered: a letter that differs from it is left and reported on stderr; exit 1.
    """
    letters = _run(_chosen(ids, **chosen))
    unfit = {} if dry_run else _run(_replay(letters, rate))
    _report([letter for letter in letters if letter.sequence not in unfit], "replayed", dry_run, as_json)
    for sequence, why in unfit.items():
        say(f"letter {sequence} is not replayed: {why}", err=True)
    raise SystemExit(bool(unfit))


@dlq.command()
@IDS
@REACTION
@REASON
@ALL
@LIMIT
@DRY_RUN
@JSON
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--why", default="", metavar="TEXT", help="The reason, which the log keeps.")
@options.app
def discard(ids: tuple[int, ...], dry_run: bool, as_json: bool, yes: bool, why: str, **chosen: Any) -> None:
    """Remove letters. Their events stay unhandled by that reaction.

    `jetmesh dlq undo` brings them back, while the messages that they are about are in their streams.
    """
    letters = _run(_chosen(ids, **chosen))
    if letters and not (dry_run or yes):
        click.confirm(f"Remove {_count(len(letters))}?", abort=True, err=True)
    if not dry_run:
        _run(_discard(letters, why))
    _report(letters, "discarded", dry_run, as_json)


@dlq.command()
@IDS
@REACTION
@REASON
@ALL
@LIMIT
@DRY_RUN
@JSON
@options.app
def undo(ids: tuple[int, ...], dry_run: bool, as_json: bool, limit: int | None, app: str, **chosen: Any) -> None:
    """Bring discarded letters back, as they were.

    Name them by the IDs that they had, which `jetmesh dlq log` shows, or by --reaction and --reason, or use --all. They
    get new IDs. One whose message has left its stream, or with which something was done since, is reported on stderr;
    exit 1. A replay can't be undone: the reaction has got the message.
    """
    which = _filter(ids, **chosen)
    done, refused = _run(_bring_back(ids, which, limit, app, dry_run=dry_run))
    if as_json:
        _print_json({"brought_back": 0 if dry_run else len(done), "letters": done})
    else:
        _print_brought_back(done, dry_run=dry_run)
    for sequence, reason in refused.items():
        say(f"letter {sequence} is not brought back: {reason}", err=True)
    raise SystemExit(bool(refused))


@dlq.command()
@JSON
def log(as_json: bool) -> None:
    """Show who replayed, discarded and brought back which letters."""

    async def read() -> list[dict[str, Any]]:
        async with _post() as post:
            return [asdict(entry) for entry in await post.log()]

    entries = _run(read())
    if as_json:
        _print_json(entries)
        return
    table = _table("when", "who", "did", "letter", "reaction", "event", "why")
    for entry in entries:
        cells = (entry[name] for name in ("by", "action", "letter", "reaction", "source", "note"))
        table.add_row(_ago(lenient.moment(entry["at"])), *map(field, cells))
    Console().print(table if entries else "nothing was replayed or discarded yet")


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


@asynccontextmanager
async def _post(app: str = "") -> AsyncIterator[DeadLetters]:
    async with reach(settings_of_target()) as mesh:
        theirs = await _services_of_others(mesh.connection, app)
        yield DeadLetters(mesh.connection, mesh.publisher, own_name(), theirs)


async def _services_of_others(connection: Transport, app: str) -> frozenset[str]:
    """The services of the other apps on the broker; none where nothing names an app."""
    try:
        name = apps.name_of(apps.load(app))
    except apps.AppError:
        if app:
            raise
        return frozenset()
    known = await deployed.fetch(connection)
    return frozenset(service for each in known.values() if each.app != name for service in each.records)


def _chosen(
    ids: tuple[int, ...], reaction: str, reason: str, everything: bool, limit: int | None, app: str
) -> Coroutine[Any, Any, list[DeadLetter]]:
    return _choose(ids, _filter(ids, reaction, reason, everything), limit, app)


def _filter(ids: tuple[int, ...], reaction: str, reason: str, everything: bool) -> Filter:
    ways = [bool(ids), bool(reaction or reason), everything]
    if sum(ways) != 1:
        raise click.UsageError("name the letters by ID, by --reaction and --reason, or with --all: one of the three")
    return Filter(reaction, reason)


async def _choose(ids: tuple[int, ...], which: Filter, limit: int | None, app: str = "") -> list[DeadLetter]:
    async with _post(app) as post:
        if ids:
            return [await _existing(post, sequence) for sequence in ids[:limit]]
        letters = []
        async for letter in post.all(which):
            letters.append(letter)
            if len(letters) == limit:
                break
        return letters


async def _existing(post: DeadLetters, sequence: int) -> DeadLetter:
    letter = await post.one(sequence)
    if letter is None:
        raise click.ClickException(f"no dead letter {sequence}: `jetmesh dlq list --each` shows the IDs")
    return letter


async def _replay(letters: list[DeadLetter], rate: float | None) -> dict[int, str]:
    """Replay the letters; returns those that differ from their message of origin, and how."""
    unfit = {}
    async with _post() as post:
        for letter in letters:
            try:
                await post.replay(letter)
            except Unfit as refused:
                unfit[letter.sequence] = str(refused)
            if rate:
                await asyncio.sleep(1 / rate)
    return unfit


async def _discard(letters: list[DeadLetter], why: str) -> None:
    async with _post() as post:
        for letter in letters:
            await post.discard(letter, why)


async def _bring_back(
    ids: tuple[int, ...], which: Filter, limit: int | None, app: str, *, dry_run: bool
) -> tuple[list[dict[str, Any]], dict[int, str]]:
    """Undo the discards of these letters; what came back, and why others did not."""
    done, refused = list[dict[str, Any]](), dict[int, str]()
    async with _post(app) as post:
        discards = await post.discards(which)
        for was in list(ids or discards)[:limit]:
            try:
                if was not in discards:
                    raise Unfit("the log has no discard of it that could be undone (`jetmesh dlq log`)")
                sequence = 0 if dry_run else await post.bring_back(discards[was].sequence)
            except (Unfit, AlreadyHandled) as failed:
                refused[was] = str(failed)
            else:
                entry = discards[was].entry
                done.append({"was": was, "id": sequence, "reaction": entry.reaction, "reason": entry.reason})
    return done, refused


def _print_brought_back(done: list[dict[str, Any]], *, dry_run: bool) -> None:
    if done:
        table = _table("was", *([] if dry_run else ["id"]), "reaction", "reason")
        for each in done:
            table.add_row(*(field(str(value)) for name, value in each.items() if name != "id" or not dry_run))
        Console().print(table)
    say(f"{_count(len(done))} {'would be ' if dry_run else ''}brought back")


def _report(letters: list[DeadLetter], action: str, dry_run: bool, as_json: bool) -> None:
    if as_json:
        _print_json({action: 0 if dry_run else len(letters), "letters": [summary(letter) for letter in letters]})
        return
    if dry_run and letters:
        Console().print(_table_of_letters(letters))
    say(f"{_count(len(letters))} {'would be ' if dry_run else ''}{action}")


def _count(number: int) -> str:
    return "1 letter" if number == 1 else f"{number} letters"


def summary(letter: DeadLetter) -> dict[str, Any]:
    """A letter without its body and headers (which may hold personal data)."""
    stream, sequence = letter.position
    return {
        "id": letter.sequence,
        "reaction": letter.reaction,
        "error_type": letter.error_type,
        "reason": letter.reason,
        "subject": letter.source,
        "stream": stream,
        "sequence": sequence,
        "attempts": letter.attempts,
        "raised_in": letter.frame,
        "first_time": letter.first_time.isoformat(),
        "last_time": letter.last_time.isoformat(),
        "trace_id": letter.trace_id,
    }


def _as_json(group: LetterGroup) -> dict[str, Any]:
    times = {"first_time": group.first.isoformat(), "last_time": group.last.isoformat()}
    return {
        "reaction": group.reaction,
        "reason": group.kind,
        "raised_in": group.frame,
        "count": group.count,
        **times,
        "example": summary(group.example),
    }


def _print_json(document: object) -> None:
    show_json(document, indent=2)


def _table(*names: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in names:
        right = name in ("letters", "id", "was", "attempts")
        table.add_column(name, justify="right" if right else "left", no_wrap=name in ("letters", "id", "first", "last"))
    return table


def _table_of_groups(groups: list[LetterGroup]) -> Table:
    table = _table("letters", "reaction", "reason", "first", "last")
    for group in groups:
        reason = field(f"{group.kind}  ({group.frame})" if group.frame else group.kind)
        table.add_row(str(group.count), field(group.reaction), reason, _ago(group.first), _ago(group.last))
    return table


def _table_of_letters(letters: list[DeadLetter]) -> Table:
    table = _table("id", "reaction", "event", "reason", "last")
    for letter in letters:
        reason = field(f"{letter.error_type}: {letter.reason}")
        cells = (field(letter.reaction), field(letter.source), reason, _ago(letter.last_time))
        table.add_row(str(letter.sequence), *cells)
    return table


def _print_whole(letter: DeadLetter, console: Console) -> None:
    facts = Table.grid(padding=(0, 2, 0, 0))
    for name, value in summary(letter).items():
        facts.add_row(Text(name.replace("_", " "), style="bold"), field(value))
    console.print(facts)
    if letter.traceback:
        console.print("\ntraceback", style="bold")
        console.print(Text(lines(letter.traceback)))
    console.print("\nheaders", style="bold")
    for name, value in letter.original.items():
        console.print(field(f"  {name}: {value}"))
    console.print("\nbody", style="bold")
    console.print(Text(lines(letter.data[:BODY_MAX].decode("utf-8", "replace"))))
    if len(letter.data) > BODY_MAX:
        console.print(f"… {len(letter.data):,} bytes in all; --json shows the whole", style="dim")


def _ago(moment: datetime) -> str:
    seconds = max(0.0, (datetime.now(UTC) - moment).total_seconds())
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"
