"""Options that several commands share."""

from collections.abc import Callable

import click

Tell = Callable[[str], None]
"""Where a command says how far it is."""

app = click.option("--app", default="", metavar="MODULE:NAME", help="The services; else JETMESH_APP or pyproject.toml.")
contracts = click.option(
    "--contracts", default="", metavar="PACKAGE", help="The contracts; else JETMESH_CONTRACTS or pyproject.toml."
)
