"""`jetmesh example`: prints a body to publish by hand."""

import json
import uuid

import click

from jetmesh.commands import options
from jetmesh.common.terminal import say
from jetmesh.common.visible import written
from jetmesh.contracts import package


@click.command()
@click.argument("name", metavar="TYPE", default="")
@click.option("--key", default="", help="The key; a fresh one if none is given.")
@options.contracts
def example(name: str, key: str, contracts: str) -> None:
    """Print a valid body of an event (else of the first that may be published from outside), each time with a new key.

    \b
    jetmesh example orders.placed | nats pub orders.placed --force-stdin
    """
    found = package.load(contracts)
    event = found.event(name)
    bodies = found.examples(event.type)
    if not bodies:
        missing = f"{event.type} has no example: write one to {found.folder}/examples/{event.type}/1.json"
        raise click.ClickException(missing)
    body = {**bodies[0], event.key_field: key or _fresh(str(bodies[0][event.key_field]))}
    event.read(json.dumps(body).encode())
    say(written(body, separators=(",", ":")))


def _fresh(key: str) -> str:
    """A new key of the same form: its letters, then twelve random hexadecimal digits."""
    letters, dash, _ = key.partition("-")
    return f"{letters if dash else 'o'}-{uuid.uuid4().hex[:12]}"
