"""`python3 -m examples.chat`: a small client for people. NATS_URL and JETMESH_NATS_NKEY_SEED say where the mesh is."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import click

import jetmesh
from examples.chat.client import Rooms
from examples.chat.contract import MessageSent


def asked(do: Callable[[Rooms], Awaitable[None]]) -> None:
    """Connect, do it, disconnect."""

    async def connected() -> None:
        async with jetmesh.connect(name="chat-client") as mesh:
            await do(Rooms(mesh))

    try:
        asyncio.run(connected())
    except (jetmesh.Unavailable, jetmesh.Problem) as error:
        raise click.ClickException(str(error)) from None


@click.group()
def main() -> None:
    """Talk in the rooms of the example chat."""


@main.command("open")
@click.argument("room")
@click.argument("title")
def open_(room: str, title: str) -> None:
    """Open a ROOM."""

    async def do(rooms: Rooms) -> None:
        click.echo(type(await rooms.open(room, title)).__name__)

    asked(do)


@main.command()
@click.argument("room")
@click.argument("member")
@click.argument("text")
def say(room: str, member: str, text: str) -> None:
    """Say TEXT in a ROOM, as a MEMBER of it."""

    async def do(rooms: Rooms) -> None:
        await rooms.join(room, member, f"{member}-in")
        await rooms.send(room, member, uuid.uuid4().hex, text)

    asked(do)


@main.command()
@click.argument("room")
@click.option("--after", default=0, help="The position of the last event that was read.")
@click.option("--count", default=0, help="How many events to read; 0: until Ctrl-C.")
def read(room: str, after: int, count: int) -> None:
    """Follow a ROOM."""

    async def do(rooms: Rooms) -> None:
        left = count
        async with aclosing(rooms.entries(room, after)) as entries:
            async for position, event in entries:
                said = f"{event.sender_id}: {event.text}" if isinstance(event, MessageSent) else f"hidden: {event.word}"
                click.echo(f"{position:>6}  {said}")
                if (left := left - 1) == 0:
                    return

    asked(do)


@main.command()
@click.argument("room")
@click.argument("member")
def unread(room: str, member: str) -> None:
    """Tell how many messages of a ROOM a MEMBER has not read."""

    async def do(rooms: Rooms) -> None:
        click.echo(await rooms.unread(room, member))

    asked(do)


if __name__ == "__main__":
    main()
