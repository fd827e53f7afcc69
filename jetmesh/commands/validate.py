"""`jetmesh validate`: checks a body before it is published."""

from typing import BinaryIO

import click

from jetmesh.commands import options
from jetmesh.common.terminal import say
from jetmesh.contracts import package
from jetmesh.contracts.advice import advise
from jetmesh.event import id_field_of, is_occurrence


@click.command()
@click.argument("file", type=click.File("rb"), default="-")
@click.option("--type", "name", default="", help="The type; else the first that may be published from outside.")
@options.contracts
def validate(file: BinaryIO, name: str, contracts: str) -> None:
    """Check the body in FILE (or from standard input), field by field; exit 1 if it is invalid.

    \b
    jetmesh validate order.json
    jetmesh example orders.placed | jetmesh validate
    """
    event = package.load(contracts).event(name)
    said = advise(event, file.read())
    for advice in said:
        say(str(advice), fg="yellow" if advice.note else "red")
    if any(not advice.note for advice in said):
        raise SystemExit(1)
    last = f".<{id_field_of(event) or 'id'}>" if is_occurrence(event) else ""
    subject = event.type if event.from_outside else f"{event.type}.<{event.key_field}>{last}"
    say(f"valid for {event.type}: publish it on {subject}", fg="green")
