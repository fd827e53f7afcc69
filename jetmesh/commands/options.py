"""Options that several commands share."""

import click

app = click.option("--app", default="", metavar="MODULE:NAME", help="The services; else JETMESH_APP or pyproject.toml.")
