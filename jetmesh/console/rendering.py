"""Turns templates into pages: text from outside is shown with every character visible, and times with their zone."""

import json
from datetime import UTC, datetime

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from jetmesh.common.visible import lines, visible
from jetmesh.http.browser.times import in_utc


def templates() -> Environment:
    """The console's templates; whatever is put into them is escaped."""
    found = Environment(
        loader=PackageLoader("jetmesh.console"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    found.filters |= {"seen": seen, "text": text, "moment": moment, "number": number, "size": size, "json": as_json,
                      "compact": compact, "after": after, "counted": counted, "marked": marked}  # fmt: skip
    return found


def seen(words: object) -> Markup:
    """One line of text from outside, which changes the direction of nothing around it."""
    return Markup("<bdi>{}</bdi>").format(visible(words))


def text(words: str) -> str:
    """Several lines of text from outside."""
    return lines(words)


def moment(time: datetime | float | str) -> Markup:
    """A time: in UTC, until the browser's script says it in the viewer's zone."""
    found = _datetime(time)
    if found is None or found.timestamp() <= 0:
        return Markup('<span class="muted">unknown</span>')
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        *in_utc(found), f"{found.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    )


def _datetime(time: datetime | float | str) -> datetime | None:
    if isinstance(time, datetime):
        return time
    try:
        return datetime.fromtimestamp(time, UTC) if isinstance(time, int | float) else datetime.fromisoformat(time)
    except (ValueError, OverflowError, OSError):
        return None


def number(value: float) -> str:
    """A whole number with its thousands."""
    return f"{value:,}"


def counted(count: int, one: str, many: str = "") -> str:
    """A count with what is counted: 1 letter, 2 letters."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def marked(words: str) -> Markup:
    """A sentence from the runtime, whose commands stand between backticks."""
    parts = words.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(visible(each)) if at % 2 else seen(each)
        for at, each in enumerate(parts)
        if each
    )


def compact(count: int) -> str:
    """A count in four characters at most, for a place with little room."""
    for unit, factor in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= factor:
            return f"{count / factor:.1f}{unit}" if count < 10 * factor else f"{count // factor}{unit}"
    return str(count)


def after(words: str, time: float) -> Markup:
    """How long after the first something was, with its time under the pointer."""
    return Markup('<time datetime="{}" title="{}" data-after>+{}</time>').format(
        *in_utc(datetime.fromtimestamp(time, UTC)), words
    )


def size(count: int) -> str:
    """So many bytes, in a fitting unit."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:,.1f} {unit}"
    return f"{count} B"


def as_json(document: object) -> str:
    """A document in JSON, over several lines."""
    return json.dumps(document, indent=2, ensure_ascii=False, default=str)
