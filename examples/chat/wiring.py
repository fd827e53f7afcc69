"""chat as it runs: its log, and the banned words of its settings."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import BaseModel

from examples.chat.adapters import StreamLog
from examples.chat.service import Needs
from jetmesh import Context, read_settings


class Settings(BaseModel):
    """`JETMESH_BANNED_WORDS`: words with a comma between them."""

    banned_words: str = "spam"


@asynccontextmanager
async def wire(context: Context) -> AsyncIterator[Needs]:
    """What the service needs, for as long as it runs."""
    words = read_settings(Settings).banned_words.split(",")
    yield Needs(StreamLog(context), frozenset(word.strip() for word in words if word.strip()))
