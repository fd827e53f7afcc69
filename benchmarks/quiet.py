"""Whether the machine was quiet while a part was measured: what other processes and the hypervisor took meanwhile, and
whether its processors were as fast afterwards as before."""

import ctypes
import hashlib
import os
import resource
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from benchmarks.processes import TICKS_PER_SECOND

SHARE_MAX = 0.05
"""Of one core: what another process may take of it, and the hypervisor."""
ENDED_SHARE_MAX = 0.1
PACE_MAX = 1.1
"""So many times as long, or as short, may the same work take a processor after the part."""
PACE_BLOCK, PACE_TRIES = bytes(1 << 20), 8
FREQUENCIES = "sys/devices/system/cpu/cpu*/cpufreq/scaling_cur_freq"
"""Of each processor in kHz, where the kernel tells: a virtual machine's seldom does."""
KERNEL = 2
"""The parent of the kernel's own threads: they work for whoever is measured."""
SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of prctl(2)."""

Process = tuple[int, int]
"""Its id, and the tick at which it began: ids are used again."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What had been used at one moment, in seconds of a core: by the whole machine, by this process and all below it,
    and by each other process that is there; and how long some work took a processor then."""

    at: float
    busy: float
    stolen: float
    own: float
    others: dict[Process, tuple[str, float]]
    pace: float = 0.0
    megahertz: float = 0.0


def adopt_orphans() -> None:
    """Let what this process started, and whose own parent has ended, become its child, so that what it took counts as
    ours even once it has ended. Chromium ends before its renderers. Nobody waits for them while this process runs."""
    if Path("/proc/stat").exists():
        ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)


def snapshot() -> Snapshot:
    """What has been used until now (proc(5)). Where there is no /proc, nothing is known."""
    pace = _pace()
    if not Path("/proc/stat").exists():
        return Snapshot(time.monotonic(), 0.0, 0.0, 0.0, {}, pace)
    user, nice, system, _idle, _wait, _irq, _soft, stolen, *_ = Path("/proc/stat").read_text().split(maxsplit=9)[1:]
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    found = _processes()
    below = [each for pid, each in found.items() if pid != os.getpid() and _descends(pid, found)]
    return Snapshot(
        at=time.monotonic(),
        busy=sum(map(int, (user, nice, system))) / TICKS_PER_SECOND,
        stolen=int(stolen) / TICKS_PER_SECOND,
        own=sum(each.ru_utime + each.ru_stime for each in used) + sum(each.cpu + each.waited for each in below),
        others=dict(_others(found)),
        pace=pace,
        megahertz=megahertz(Path("/")),
    )


def disturbances(before: Snapshot, after: Snapshot) -> list[str]:
    """Who took more of a core in between than a quiet machine allows, and how much, in words; the most first."""
    seconds = after.at - before.at
    there = {
        process: (name, cpu - before.others.get(process, ("", 0.0))[1]) for process, (name, cpu) in after.others.items()
    }
    ended = after.busy - before.busy - (after.own - before.own) - sum(cpu for _, cpu in there.values())
    found = [(cpu / seconds, name) for name, cpu in there.values() if name and cpu > SHARE_MAX * seconds]
    if ended > ENDED_SHARE_MAX * seconds:
        found.append((ended / seconds, "processes that have ended"))
    if (stolen := after.stolen - before.stolen) > SHARE_MAX * seconds:
        found.append((stolen / seconds, "the hypervisor (steal)"))
    return [*(f"{name} {share:.0%}" for share, name in sorted(found, reverse=True)), *_drift(before, after)]


def _drift(before: Snapshot, after: Snapshot) -> Iterator[str]:
    """How much slower or faster the processors have become, if that is much."""
    for what, ratio in (
        ("the processor's time for the same work", after.pace / before.pace if before.pace else 1.0),
        ("the processors' frequency", after.megahertz / before.megahertz if before.megahertz else 1.0),
    ):
        if not 1 / PACE_MAX <= ratio <= PACE_MAX:
            yield f"{what} × {ratio:.2f}"


def _pace() -> float:
    """Seconds of a processor for some work, the shortest of a few times: waiting does not count."""
    taken = []
    for _ in range(PACE_TRIES):
        began = time.thread_time()
        hashlib.sha256(PACE_BLOCK).digest()
        taken.append(time.thread_time() - began)
    return min(taken)


def megahertz(root: Path) -> float:
    """The mean of all processors; 0 where the kernel does not tell."""
    found = [int(path.read_text()) / 1e3 for path in root.glob(FREQUENCIES)]
    return sum(found) / len(found) if found else 0.0


class _Found(NamedTuple):
    """A process that is there; its seconds of a core, and those of children that it has waited for."""

    parent: int
    began: int
    name: str
    cpu: float
    waited: float


def _processes() -> dict[int, _Found]:
    folders = [each for each in Path("/proc").iterdir() if each.name.isdecimal()]
    return {int(folder.name): each for folder in folders if (each := _read(folder))}


def _others(found: Mapping[int, _Found]) -> Iterator[tuple[Process, tuple[str, float]]]:
    """Every process that does not descend from this one; threads of the kernel have no name here."""
    for pid, each in found.items():
        if not _descends(pid, found):
            yield (pid, each.began), ("" if KERNEL in (pid, each.parent) else each.name, each.cpu)


def _read(folder: Path) -> _Found | None:
    """A process; None if it has just ended."""
    try:
        head, _, tail = (folder / "stat").read_text(errors="replace").rpartition(")")
    except OSError:
        return None
    fields = tail.split()
    user, system, waited_user, waited_system = map(int, fields[11:15])
    cpu, waited = (user + system) / TICKS_PER_SECOND, (waited_user + waited_system) / TICKS_PER_SECOND
    return _Found(int(fields[1]), int(fields[19]), head.partition("(")[2], cpu, waited)


def _descends(pid: int, found: Mapping[int, _Found]) -> bool:
    """Whether it is this process, or one below it."""
    while pid in found:
        if pid == os.getpid():
            return True
        pid = found[pid].parent
    return False
