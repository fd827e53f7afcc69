"""What the reference mesh keeps in its state folder beside what every mesh keeps there."""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from jetmesh.local.state import State


@dataclass(frozen=True, slots=True)
class Stores:
    """The files of the services and of the outside world."""

    folder: Path

    @classmethod
    def of(cls, state: State) -> "Stores":
        """Those of this folder."""
        return cls(state.folder)

    @property
    def bank(self) -> Path:
        """The sandbox bank's ledger."""
        return self.folder / "bank.sqlite"

    @property
    def mails(self) -> Path:
        """The mails that the sink took."""
        return self.folder / "mail.sqlite"

    @property
    def warehouse(self) -> Path:
        """What analytics keeps."""
        return self.folder / "analytics.duckdb"

    @property
    def traces(self) -> Path:
        """The recent spans."""
        return self.folder / "traces.sqlite"

    @property
    def all(self) -> tuple[Path, ...]:
        """Each of them."""
        return self.bank, self.mails, self.warehouse, self.traces

    def secret(self) -> str:
        """The secret behind the tokens of the orders, made once, readable by its owner alone."""
        path = self.folder / "http.secret"
        if not path.exists() or not path.stat().st_size:  # a full disk leaves an empty one
            fresh = path.with_suffix(".tmp")
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(secrets.token_hex(32))
            fresh.replace(path)
        return path.read_text()
