"""The keys and certificates of a connection, read again at each connect.

They can be renewed while a process runs. A file that can't be used at the start is an error that names the setting;
later the earlier one stays in use."""

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jetmesh.common.throttled_log import Conditions
from jetmesh.jetstream import tls
from jetmesh.settings import Settings, SettingsError, variable

log = logging.getLogger("jetmesh.connection")

SEED = variable(Settings, "nats_nkey_seed")
MICRO_SEED = variable(Settings, "nats_micro_nkey_seed")
UNKNOWN_USER = re.compile(r"authorization violation|authentication (timeout|expired|revoked)", re.IGNORECASE)
NO_ROOM = re.compile(r"maximum .*connections", re.IGNORECASE)


class Credentials:
    """The files that the settings name; `micro`: of the user that answers `nats micro`."""

    def __init__(self, settings: Settings, *, micro: bool = False) -> None:
        self._settings = settings
        self._variable = MICRO_SEED if micro else SEED
        self._seed_file = settings.nats_micro_nkey_seed if micro else settings.nats_nkey_seed
        self._conditions = Conditions(log)
        self._good: Mapping[str, Any] = self._read()

    def options(self) -> Mapping[str, Any]:
        """The options for nats-py from the files now, or from their last valid contents."""
        try:
            self._good = self._read()
        except SettingsError as wrong:
            self._conditions.say(logging.ERROR, "unreadable", f"{wrong}; the one that was read before stays in use")
        else:
            self._conditions.over()
        return self._good

    def trouble(self, error: BaseException | None, server: Mapping[str, Any]) -> str:
        """Why the broker refuses this process, and what to check; empty if it does not."""
        words = str(error)
        if UNKNOWN_USER.search(words):
            return self._unknown()
        if NO_ROOM.search(words):
            return "the broker has as many connections as it takes: raise max_connections, there or for this account"
        return tls.trouble(error, server, self._settings)

    def _unknown(self) -> str:
        if self._seed_file:
            key = _public_key(self._good["nkeys_seed_str"])
            return f"the broker does not know the key {key}: {self._variable} must name the seed of one of its users"
        if any(urlsplit(url).username for url in self._settings.nats_url.split(",")):
            return "the broker refuses the user and password in NATS_URL"
        return f"the broker asks who this is: {SEED} must name the file with the seed of one of its users"

    def _read(self) -> Mapping[str, Any]:
        """The options, from the files.

        Raises:
            SettingsError: a file can't be read, or does not hold what it must.
        """
        options: dict[str, Any] = {"inbox_prefix": self._settings.nats_inbox_prefix}
        if self._seed_file:
            options["nkeys_seed_str"] = self._seed()
        if context := tls.context(self._settings):
            options["tls"] = context
        return options

    def _seed(self) -> str:
        try:
            seed = Path(self._seed_file).read_text().strip()
        except (OSError, UnicodeDecodeError) as unreadable:
            raise SettingsError(f"settings: {self._variable}: {unreadable}") from None
        try:
            is_users = _public_key(seed).startswith("U")
        except Exception:  # nkeys has an error of its own for each way to be wrong, without a common type
            is_users = False
        if not is_users:
            raise SettingsError(f"settings: {self._variable}: {self._seed_file} holds no seed of a user (SU…)")
        return seed


def _public_key(seed: str) -> str:
    import nkeys  # imported only with a key: it loads much

    pair = nkeys.from_seed(bytearray(seed.encode()))
    key: str = pair.public_key.decode()
    pair.wipe()
    return key
