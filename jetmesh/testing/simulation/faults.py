"""The faults, each undone after a while or when the world heals."""

import asyncio
from collections.abc import Callable, Mapping

from jetmesh.testing.simulation.stream import SimulatedStream
from jetmesh.testing.simulation.world import Process, World

Fault = Callable[[World], None]


def kill(world: World) -> None:
    """SIGKILL of a process between any two of its steps."""
    process = world.random.choice(world.processes)
    world.loop.after_steps(process.owner, world.random.randint(1, 150), lambda: _down(world, process))


def _down(world: World, process: Process) -> None:
    process.kill()
    world.until_repaired(world.random.uniform(0.05, 12), process.start)


def stop(world: World) -> None:
    """SIGTERM of a process: it finishes its deliveries in flight, and is replaced."""
    process = world.random.choice(world.processes)
    process.stopping.set()

    def replace() -> None:
        process.kill()
        process.start()

    world.until_repaired(world.random.uniform(1, 30), replace)


def freeze(world: World) -> None:
    """SIGSTOP of a process, often for longer than the ack wait: its deliveries are at other processes when it wakes."""
    process = world.random.choice(world.processes)
    owner = process.owner
    world.loop.freeze(owner)
    seconds = world.random.uniform(0.5, world.settings.ack_wait_seconds * 2.5)
    world.until_repaired(seconds, lambda: world.loop.thaw(owner))


def cut(world: World) -> None:
    """The connection of a process breaks."""
    world.random.choice(world.processes).connection.cut(world.random.uniform(0.01, 4))


def crash_broker(world: World) -> None:
    """SIGKILL of the broker: the last acknowledgements and every connection are lost."""
    if world.broker.down:
        return
    for process in [*world.processes, *world.outsiders]:
        process.connection.cut(world.random.uniform(0.01, 1))
    world.broker.crash()
    world.until_repaired(world.random.uniform(0.1, 6), world.broker.restart)


def stall_broker(world: World) -> None:
    """SIGSTOP of the broker; messages of a client that gives up its connection still arrive."""
    if world.broker.down or world.broker.stalled:
        return
    world.broker.stall()
    for process in world.processes:
        if world.random.random() < 0.2:
            process.connection.cut(world.random.uniform(0.01, 10))
    world.until_repaired(world.random.uniform(0.2, 15), world.broker.go_on)


def lose_leader(world: World) -> None:
    """A stream answers no request for a while; afterwards its consumers have a new leader."""
    stream = _stream(world)
    stream.leaderless = True

    def elect() -> None:
        stream.leaderless = False
        step_down(world, stream)

    world.until_repaired(world.random.uniform(0.2, 8), elect)


def step_down(world: World, stream: SimulatedStream | None = None) -> None:
    """New leaders of consumers: their pulls are lost, and sometimes the times of deliveries."""
    stream = stream or _stream(world)
    for consumer in world.broker.consumers.values():
        if consumer.stream is stream:
            consumer.forget_pulls("409 Leadership Change")
            if world.random.random() < 0.5:
                consumer.redeliver_all()


def fill(world: World) -> None:
    """A stream is full for a while."""
    stream = _stream(world)
    stream.full = True
    world.until_repaired(world.random.uniform(0.2, 6), lambda: setattr(stream, "full", False))


def recreate(world: World) -> None:
    """A durable is deleted and made anew: it delivers everything once more."""
    world.random.choice([c for c in world.broker.consumers.values() if not c.stream.is_work_queue]).start_over()


def lose_answers(world: World) -> None:
    """Publishes are stored, and their answers are lost or late."""
    world.broker.answers_lost, world.broker.answers_late = 0.15, 0.15

    def hear() -> None:
        world.broker.answers_lost = world.broker.answers_late = 0.0

    world.until_repaired(world.random.uniform(0.5, 6), hear)


def read_the_past(world: World) -> None:
    """Direct gets are answered by replicas that lag."""
    world.broker.readings_stale = 0.6
    world.until_repaired(world.random.uniform(1, 15), lambda: setattr(world.broker, "readings_stale", 0.0))


FAULTS: Mapping[str, Fault] = {
    "process killed": kill,
    "process stopped": stop,
    "process frozen": freeze,
    "connection cut": cut,
    "broker killed": crash_broker,
    "broker frozen": stall_broker,
    "stream without leader": lose_leader,
    "leader stepped down": step_down,
    "stream full": fill,
    "consumer made again": recreate,
    "answers lost": lose_answers,
    "readings of the past": read_the_past,
}


async def storm(world: World, seconds: float, faults: Mapping[str, Fault] = FAULTS) -> None:
    """Inject a few kinds of faults, chosen by the seed, for so many seconds."""
    names = world.random.sample(sorted(faults), world.random.randint(0, min(5, len(faults))))
    end = world.loop.time() + seconds
    pause = world.random.choice((0.3, 1.0, 4.0))
    while names and world.loop.time() < end:
        await asyncio.sleep(world.random.expovariate(1 / pause))
        name = world.random.choice(names)
        world.struck[name] += 1
        faults[name](world)


def _stream(world: World) -> SimulatedStream:
    return world.random.choice(list(world.broker.streams.values()))
