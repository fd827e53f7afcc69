"""The log of the rooms, read from the stream of chat."""

from examples.chat.contract import MessageHidden, MessageSent
from jetmesh import Context

PAGE = 500


class StreamLog:
    """A Log that is the stream itself: nothing is kept beside it."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def messages(self, room_id: str, after: int, limit: int) -> tuple[list[tuple[int, MessageSent]], int]:
        """A page of the stream."""
        page = await self._context.read(room_id, MessageSent, after=after, limit=limit)
        return [(event.sequence, MessageSent.read(event.data)) for event in page.events], page.left

    async def hidden(self, room_id: str, after: int) -> list[MessageHidden]:
        """Page by page, to the end."""
        found: list[MessageHidden] = []
        left = 1
        while left:
            events, left = await self._context.read(room_id, MessageHidden, after=after, limit=PAGE)
            found += [MessageHidden.read(event.data) for event in events]
            after = events[-1].sequence if events else after
        return found
