"""The nkeys of a mesh's users: created once, kept in files for their owner alone, rotated without a stop."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import nkeys

from jetmesh.common import private_files
from jetmesh.event import stream_of
from jetmesh.service import Service
from jetmesh.topology import accounts, outside
from jetmesh.topology.accounts import CONSOLE, OPERATOR, VIEWER
from jetmesh.topology.outside import OutsideUser

CONSOLES = (CONSOLE, VIEWER)
PREVIOUS = ".previous"


def users(services: Sequence[Service], folder: Path | None = None, outsiders: Sequence[OutsideUser] = ()) -> list[str]:
    """All users of the broker: each service and its `nats micro` user, one user of each kind that may publish from
    outside, those that the contracts declare, the console's, operators, and the users that were added in the folder of
    the seeds.

    Raises:
        ValueError: a service has the name of another user, or a file in the folder has a name that no user can have.
    """
    names, kinds = [service.name for service in services], list(accounts.published(services))
    micro = [f"{name}-micro" for name in names]
    taken = {stream_of(user) for user in (*micro, *CONSOLES, OPERATOR, accounts.CORE)}
    if others := [name for name in names if stream_of(name) in taken or accounts.kind_of(name, kinds)]:
        raise ValueError(f"service {others[0]}: the broker's user of this name is no service; rename the service")
    found = sorted(file.stem for file in folder.glob("*.nk")) if folder else []
    added = [user for user in found if accounts.kind_of(user, kinds) and user not in kinds]
    if folder and (odd := [user for user in added if not accounts.USER.fullmatch(user)]):
        raise ValueError(f"{seed_file(folder, odd[0])}: no user can have this name; rename or remove the file")
    return [*names, *micro, *kinds, *outside.named(outsiders), *added, *CONSOLES, OPERATOR]


def seed_file(folder: Path, user: str) -> Path:
    """The file of a user's seed, for `JETMESH_NATS_NKEY_SEED` and `nats --nkey`."""
    return folder / f"{user}.nk"


def ensure(folder: Path, names: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """The public keys of each user; missing seeds are created, and a key that was rotated out stays valid.

    Raises:
        ValueError: a file holds no seed, or that of another user; the text names it.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in names:
        if not seed_file(folder, name).exists():
            _make(seed_file(folder, name))
    for seed in folder.glob("*.nk*"):
        private_files.close(seed)
    found = {name: _public_keys(folder, name) for name in names}
    _check_own(folder, found)
    return found


def _check_own(folder: Path, found: Mapping[str, Sequence[str]]) -> None:
    """Refuse a seed that two users share: the server knows a user by the key alone."""
    owners: dict[str, str] = {}
    for name, public in found.items():
        for key in public:
            if (other := owners.setdefault(key, name)) != name:
                raise ValueError(
                    f"{seed_file(folder, name)}: holds the seed of {other}; remove it to have a new one made"
                )


def rotate(folder: Path, user: str) -> None:
    """Create a new seed for a user; the old one stays valid until `retire`, so that processes can change one by one.

    Raises:
        ValueError: an older key is still valid and may be in use.
    """
    current = seed_file(folder, user)
    previous = current.with_name(current.name + PREVIOUS)
    if previous.exists():
        raise ValueError(
            f"{user} has an old key that is still valid: --retire {user} once no process uses it, then --rotate"
        )
    current.rename(previous)
    _make(current)


def retire(folder: Path, user: str) -> bool:
    """Remove the key that was rotated out; False if there is none."""
    previous = seed_file(folder, user).with_name(seed_file(folder, user).name + PREVIOUS)
    if not previous.exists():
        return False
    previous.unlink()
    return True


def _public_keys(folder: Path, user: str) -> list[str]:
    current = seed_file(folder, user)
    files = [current, current.with_name(current.name + PREVIOUS)]
    return [_public_key(file) for file in files if file.exists()]


def _public_key(file: Path) -> str:
    try:
        pair = nkeys.from_seed(bytearray(file.read_text().strip(), "ascii"))
    except (nkeys.NkeysError, ValueError) as wrong:
        raise ValueError(
            f"{file}: holds no nkey seed ({type(wrong).__name__}); remove it to have a new one made"
        ) from None
    public: bytes = pair.public_key
    return public.decode()


def _make(file: Path) -> None:
    seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(seed + b"\n")
