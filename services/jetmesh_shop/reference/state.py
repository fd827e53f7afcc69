"""The files of the reference mesh in its state folder, besides those of every mesh."""

import secrets
from pathlib import Path

FILES = ("bank.sqlite", "mail.sqlite", "analytics.duckdb")


class Stores:
    """The files of the services and of the outside world."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bank, self.mails, self.warehouse = (folder / name for name in FILES)

    def secret(self) -> str:
        """The secret behind the tokens of the orders, made once, readable by its owner alone."""
        path = self.folder / "http.secret"
        if not path.exists() or not path.stat().st_size:  # a full disk leaves an empty one
            fresh = path.with_suffix(".tmp")
            fresh.touch(0o600)
            fresh.write_text(secrets.token_hex(32))
            fresh.replace(path)
        return path.read_text()
