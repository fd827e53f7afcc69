"""The network between the brokers of a cluster: each in a network namespace of its own, so that any two can be parted.

A switch, in a namespace too, joins them and this host. What is parted stays plugged in: one broker is told a wrong
hardware address of another, and what it sends there vanishes without a word. Clients reach every broker meanwhile.
Everything has a name with this process's id in it, and is removed by that name.
"""

import asyncio
import os
import random
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

from jetmesh.common.ports import HOST

NOWHERE = "02:00:00:00:00:00"
"""A hardware address that nobody has."""
ALONE = "one broker has nobody to be parted from"


class NotPossible(Exception):
    """This machine makes no network namespaces; the text says why."""


class Network:
    """`async with Network(names)`: a namespace for each name, or the loopback and `why_not`."""

    def __init__(self, names: Sequence[str]) -> None:
        self.why_not = "" if len(names) > 1 else ALONE
        self._prefix = f"jetmesh-chaos-{os.getpid()}"
        self._net = f"198.18.{random.randrange(256)}"  # a range that is set apart for tests (RFC 2544)
        self._numbers = {name: number for number, name in enumerate(names, 1)}

    async def __aenter__(self) -> Self:
        if not self.why_not:
            try:
                await self._make()
            except NotPossible as reason:
                await self._remove()
                self.why_not = str(reason)
        return self

    async def __aexit__(self, *_: object) -> None:
        if not self.why_not:
            await self._remove()

    def host(self, name: str) -> str:
        """The address of a broker, for everybody."""
        return HOST if self.why_not else f"{self._net}.{self._numbers[name]}"

    def inside(self, name: str, command: tuple[str, ...]) -> tuple[str, ...]:
        """The command that runs `command` where the broker of this name shall be."""
        return command if self.why_not else ("ip", "netns", "exec", self._space(name), *command)

    async def part(self, one: str, other: str) -> None:
        """Nothing passes between the two any more."""
        await self.deafen(one, other)
        await self.deafen(other, one)

    async def deafen(self, listener: str, speaker: str) -> None:
        """What `speaker` says does not reach `listener`; the other way round it does."""
        await _ip(
            "-n", self._space(speaker), "neighbour", "replace", self.host(listener),
            "lladdr", NOWHERE, "dev", "uplink", "nud", "permanent",
        )  # fmt: skip

    async def join(self) -> None:
        """As if nothing had been."""
        for name in () if self.why_not else self._numbers:
            await _ip("-n", self._space(name), "neighbour", "flush", "dev", "uplink", "nud", "permanent")

    def _space(self, name: str) -> str:
        return f"{self._prefix}-{name}"

    async def _make(self) -> None:
        _check()
        switch, here = self._space("switch"), f"jm{os.getpid()}"
        await _ip("netns", "add", switch)
        await _ip("-n", switch, "link", "add", "brokers", "up", "type", "bridge")
        await _ip("link", "add", here, "type", "veth", "peer", "name", "host", "netns", switch)
        await _ip("-n", switch, "link", "set", "host", "master", "brokers", "up")
        await _ip("address", "add", f"{self._net}.254/24", "dev", here)
        await _ip("link", "set", here, "up")
        for name in self._numbers:
            space = self._space(name)
            await _ip("netns", "add", space)
            await _ip("-n", space, "link", "set", "lo", "up")
            await _ip("-n", space, "link", "add", "uplink", "type", "veth", "peer", "name", name, "netns", switch)
            await _ip("-n", switch, "link", "set", name, "master", "brokers", "up")
            await _ip("-n", space, "address", "add", f"{self.host(name)}/24", "dev", "uplink")
            await _ip("-n", space, "link", "set", "uplink", "up")

    async def _remove(self) -> None:
        """With a namespace go the links in it, and their other ends."""
        for name in ("switch", *self._numbers):
            with suppress(NotPossible):
                await _ip("netns", "delete", self._space(name))


def _check() -> None:
    if sys.platform != "linux":
        raise NotPossible("network namespaces are Linux's")
    if os.geteuid() != 0:
        raise NotPossible("only root may make network namespaces")
    if shutil.which("ip") is None:
        raise NotPossible("there is no `ip` (iproute2) to make network namespaces with")


async def _ip(*arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(
        "ip", *arguments, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, words = await process.communicate()
    if process.returncode:
        raise NotPossible(f"ip {' '.join(arguments)}: {words.decode(errors='replace').strip()}")
