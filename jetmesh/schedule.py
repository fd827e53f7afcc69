"""When a reaction is due by the clock: a cron expression in a time zone, and one of its times, a tick.

The broker wakes the reaction (`Nats-Schedule`); which times are due is computed here, so that it is the same in every
process. A local time that a change to summer time leaves out is due at the first moment after it, one that comes twice
is due the first time; with `*` in minute or hour, or with seconds, real time counts (as Debian's cron has it).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, Self, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from pydantic import AwareDatetime

from jetmesh.event_model import EventModel, Token

Missed = Literal["once", "all", "skip"]
MISSED: tuple[str, ...] = get_args(Missed)
STAMP = "%Y%m%dT%H%M%SZ"
_WHOLE = {"minute": range(60), "hour": range(24), "day": range(1, 32), "month": range(1, 13), "weekday": range(7)}


class Tick(EventModel, type="schedule.tick", owner="schedule", key_field="id"):
    """A time that a schedule names. `id` is that time in UTC, `day` the date in the schedule's zone, `missed` how many
    earlier times this one makes up for."""

    id: Token
    due: AwareDatetime
    day: Token
    missed: int = 0

    @classmethod
    def at(cls, due: datetime, missed: int = 0) -> Self:
        """The tick of an aware time; `day` is the date in its zone.

        Raises:
            ValueError: the time has no zone.
        """
        if due.tzinfo is None:
            raise ValueError(f"{due!r} has no time zone: write datetime(…, tzinfo=ZoneInfo(…))")
        return cls(id=due.astimezone(UTC).strftime(STAMP), due=due, day=due.date().isoformat(), missed=missed)


def tick_id(service: str, reaction: str, tick: Tick) -> str:
    """The id of a tick as a cause: the same for one time, whichever process hands it out how often."""
    return f"{Tick.type}.{service}.{reaction}.{tick.id}"


def is_tick(cause: str) -> bool:
    """Whether a cause's id, or a delivery's subject, is that of a tick."""
    return cause.startswith(f"{Tick.type}.")


@dataclass(frozen=True, slots=True)
class Schedule:
    """A cron expression, its zone, and what becomes of times that nobody was there for."""

    cron: str
    zone: str = "UTC"
    missed: Missed = "once"

    def __str__(self) -> str:
        return f"{self.cron} {self.zone}"

    def between(self, after: datetime, until: datetime) -> list[datetime]:
        """The times after one moment, up to and with another one, in the schedule's zone."""
        found = []
        for due in self.after(after):
            if due.astimezone(UTC) > until:
                break
            found.append(due)
        return found

    def after(self, moment: datetime) -> Iterator[datetime]:
        """The times after a moment, in the schedule's zone."""
        for due in CronSim(self.cron, moment.astimezone(ZoneInfo(self.zone))):
            if due.astimezone(UTC) > moment:
                yield due

    @property
    def of_the_broker(self) -> str:
        """What the broker wakes the reaction by: six fields of numbers. Where the broker has no word for a day (`L`,
        `MON#1`), every day: a time that is not due is passed over."""
        parsed = CronSim(self.cron, datetime.now(UTC))
        days, weekdays = parsed.days, {each % 7 for each in parsed.weekdays if isinstance(each, int)}
        if min(days) < 0 or not all(isinstance(each, int) for each in parsed.weekdays):
            days, weekdays = set(_WHOLE["day"]), set(_WHOLE["weekday"])
        fields = {"minute": parsed.minutes, "hour": parsed.hours, "day": days, "month": parsed.months}
        texts = [_field(name, values) for name, values in {**fields, "weekday": weekdays}.items()]
        return " ".join([_field("minute", parsed.seconds), *texts])


def _field(name: str, values: set[int]) -> str:
    known = sorted(values)
    return "*" if known == list(_WHOLE[name]) else ",".join(map(str, known))


def problem_of(cron: object, zone: object, missed: object) -> tuple[str, str] | None:
    """What is wrong with a schedule, and the fix; None: nothing."""
    try:
        ZoneInfo(zone)  # type: ignore[arg-type]
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        return f"declares zone={zone!r}, which is no time zone", 'write an IANA name, such as zone="Europe/Berlin"'
    fix = 'write minute, hour, day, month and weekday, such as "0 9 * * MON-FRI", or six fields with the second first'
    try:
        next(Schedule(cron, str(zone)).after(datetime.now(UTC)))  # type: ignore[arg-type]
    except (CronSimError, AttributeError, TypeError) as wrong:
        return f"declares every({cron!r}), which is no cron expression ({wrong})", fix
    except (StopIteration, RuntimeError):
        return f"declares every({cron!r}), which names no day of the calendar", fix
    if missed not in MISSED:
        return f"declares missed={missed!r}", 'write "once", "all" or "skip"'
    return None
