"""What a command notes of its request, and the line that says who answered."""

import inspect
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from whymatch.client import Client
    from whymatch.client.results import Provenance

LEFT_OUT = {"json", "help"}
"""Options that change nothing in an answer. Those of the connection are left out as well, but for server and gallery:
among them are secrets."""


def note_command(context: typer.Context, connection: inspect.Signature | None = None) -> None:
    """Note the command that runs and its options, by their names on the command line, for all that it writes."""
    from whymatch.client.apps.plain import plain
    from whymatch.client.provenance import note_request

    hidden = LEFT_OUT | set(connection.parameters if connection else ()) - {"address", "gallery"}
    names = {one.name: max(one.opts, key=len).lstrip("-").replace("-", "_") for one in context.command.params}
    given: dict[str, Any] = {
        names[name]: plain(value)
        for name, value in context.params.items()
        if name not in hidden and value is not None and value != []
    }
    note_request(context.command_path, given)


def say_who_answered(client: "Client", provenance: "Provenance | None") -> None:
    """Say on stderr, in gray, which server, gallery, head and model an answer is from."""
    from whymatch.client.apps.talk import QUIET
    from whymatch.client.provenance import provenance_line

    if provenance and not QUIET.get():
        typer.secho(provenance_line(provenance, client.address), err=True, dim=True)
