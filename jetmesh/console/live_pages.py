"""How many pages are live at a time, in all and of one session."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from jetmesh.console.access import User
from jetmesh.console.settings import ConsoleSettings


class LivePages:
    """The pages whose figures follow. One that finds no room asks again, and shows the figures as they are then."""

    def __init__(self, settings: ConsoleSettings) -> None:
        self._settings = settings
        self._open: Counter[str] = Counter()

    def no_room(self, user: User) -> str:
        """Why no further page of this user can be live; empty if it can."""
        all_of_it, of_one = self._settings.console_live_max, self._settings.console_live_max_of_session
        if self._open.total() >= all_of_it:
            return f"{all_of_it} pages are live, and this console has no room for more (JETMESH_CONSOLE_LIVE_MAX)."
        # On loopback nobody says who he is: all pages are of the one who sits there.
        if not self._settings.is_open and self._open[_session(user)] >= of_one:
            return f"{of_one} pages of yours are live, and you have no more (JETMESH_CONSOLE_LIVE_MAX_OF_SESSION)."
        return ""

    @contextmanager
    def opened(self, user: User) -> Iterator[None]:
        """One more for the block."""
        session = _session(user)
        self._open[session] += 1
        try:
            yield
        finally:
            self._open[session] -= 1
            if not self._open[session]:
                del self._open[session]


def _session(user: User) -> str:
    """Whose pages count together: those of a login, of a user whom a proxy names, or of a token that is shown."""
    return user.bound or user.name
