"""What came from outside is shown, and tells the terminal nothing: no colour, no title, no clipboard, no other line."""

import io
import json
import logging
import sys

import pytest
from rich.table import Table

from jetmesh.common.console import Console, field
from jetmesh.common.terminal import prepare, say, show
from jetmesh.common.visible import LineFormatter, lines, visible, written
from jetmesh.telemetry.logs import JsonFormatter

HOSTILE = {
    "colour": "\x1b[31mred",
    "clipboard": "\x1b]52;c;cm0gLXJm\x07",
    "title": "\x1b]0;owned\x1b\\",
    "eight-bit CSI": "\x9b2J",
    "eight-bit OSC": "\x9d52;c;eA==\x9c",
    "bidi": "invoice\u202egnp.exe",
    "isolate": "\u2066a\u2069",
    "carriage return": "bad\rgood",
    "line": "first\nERROR forged",
    "line separator": "a\u2028b",
    "backspace": "secret\x08\x08",
    "null": "a\0b",
    "delete": "a\x7fb",
    "half a pair": "\ud83d",
    "zero width": "a\u200bb",
    "tag": "a\U000e0041b",
}


def every(text: str) -> bool:
    return all(each.isprintable() or each == "\n" for each in text)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_field_is_one_line_of_what_can_be_seen(text: str) -> None:
    assert visible(text).isprintable()
    assert every(lines(text))
    assert visible(visible(text)) == visible(text)


def test_what_can_be_seen_stays_as_it_is() -> None:
    assert visible("Größe 5 – „日本“ 📮") == "Größe 5 – „日本“ 📮"


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_json_is_escaped_and_means_the_same(text: str) -> None:
    shown = written({"reason": text, text: ["ü", 1]}, indent=2)
    assert every(shown)
    assert json.loads(shown) == {"reason": text, text: ["ü", 1]}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("is_terminal", [True, False])
def test_no_table_lets_it_through(text: str, is_terminal: bool) -> None:
    file = io.StringIO()
    console = Console(file=file, width=200, force_terminal=is_terminal, color_system=None)
    table = Table(box=None)
    table.add_column(text)
    table.add_row(field(text))
    table.add_row(text)
    console.print(table, text)
    assert every(file.getvalue())


def test_markup_from_outside_is_text() -> None:
    file = io.StringIO()
    Console(file=file).print("[/] [link=https://evil.example]here[/link] :smile:")
    assert file.getvalue() == "[/] [link=https://evil.example]here[/link] :smile:\n"


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_what_is_said_and_shown_is_visible(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    say(text)
    say(text, err=True, fg="red")
    show({"text": text})
    printed = capsys.readouterr()
    assert every(printed.out)
    assert every(printed.err)


@pytest.mark.parametrize("formatter", [LineFormatter(), JsonFormatter()], ids=["text", "json"])
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_log_line_is_one_line(text: str, formatter: logging.Formatter) -> None:
    record = logging.makeLogRecord({"msg": "given up on %s", "args": (text,), "name": f"team.{text}", "key": text})
    assert formatter.format(record).isprintable()


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_part_of_a_traceback_passes_for_a_log_line(text: str) -> None:
    try:
        raise ValueError(f"{text}\n12:00:00 ERROR   forged")
    except ValueError:
        told = LineFormatter().format(logging.makeLogRecord({"msg": "failed", "exc_info": sys.exc_info()}))
    assert every(told)
    assert all(line.startswith("  ") for line in told.split("\n")[1:])


def test_a_stream_that_shows_ascii_takes_everything() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", errors="strict")
    prepare([stream])
    stream.write(f"✓ nothing lost → {json.dumps({'name': 'Zoë 📮'}, ensure_ascii=False)} \udcff")
    stream.flush()
    told = raw.getvalue().decode("ascii")
    assert told.startswith("+ nothing lost > ")
    assert json.loads(told[17:-7]) == {"name": "Zoë 📮"}
