"""The connection options of every command, and how a failed call is reported."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whymatch.client.cli import completion
from whymatch.client.cli.failures import fail, image_files
from whymatch.client.cli.options import Quiet
from whymatch.client.cli.origin import note_command

if TYPE_CHECKING:
    from whymatch.client import Client

_PANEL = "Connection"
MAX_TIMEOUT_S = 1e9
CONTEXT = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)


def positive(seconds: float) -> float:
    """Require a time above 0 that gRPC can represent."""
    if not 0 < seconds <= MAX_TIMEOUT_S:
        raise typer.BadParameter(f"{seconds:g} seconds; take more than 0 and at most {MAX_TIMEOUT_S:g}")
    return seconds


def connect(
    address: Annotated[
        str,
        typer.Option(envvar="WHYMATCH_ADDRESS", metavar="HOST:PORT", help="The server.", rich_help_panel=_PANEL),
    ] = "127.0.0.1:50051",
    gallery: Annotated[
        str | None,
        typer.Option(
            envvar="WHYMATCH_GALLERY",
            metavar="NAME",
            autocompletion=completion.galleries,
            help="The gallery to work on; without it, the one named default.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(callback=positive, metavar="SECONDS", help="How long an answer may take.", rich_help_panel=_PANEL),
    ] = 60.0,
    token: Annotated[
        str | None,
        typer.Option(envvar="WHYMATCH_TOKEN", metavar="TOKEN", help="The bearer token.", rich_help_panel=_PANEL),
    ] = None,
    tls: Annotated[bool, typer.Option("--tls", help="Encrypt the connection.", rich_help_panel=_PANEL)] = False,
    ca_certificate: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            metavar="FILE",
            help="Encrypt, and trust only the authorities of this PEM file.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    client_certificate: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            metavar="FILE",
            help="The client's certificate, a PEM file.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    client_key: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            metavar="FILE",
            help="The key of that certificate, a PEM file.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
) -> "Client":
    """Make the client that the options describe."""
    from whymatch.client import Client
    from whymatch.client.channel import DEFAULT_GALLERY

    if (client_certificate is None) != (client_key is None):
        raise typer.BadParameter("--client-certificate and --client-key belong together")
    try:
        return Client(
            address,
            gallery=DEFAULT_GALLERY if gallery is None else gallery,
            timeout_s=timeout,
            token=token,
            tls=tls,
            ca_certificate=ca_certificate,
            client_certificate=client_certificate,
            client_key=client_key,
        )
    except ValueError as error:  # an address or a token that cannot be one
        raise typer.BadParameter(str(error)) from error


def connect_to(address: str, context: typer.Context) -> "Client":
    """Make a client of another server with the command's options."""
    options = {name: context.params[name] for name in inspect.signature(connect).parameters}
    return connect(**options | {"address": address})


def with_client(command: Callable[..., None]) -> Callable[..., None]:
    """Add --quiet and the options of `connect` to `command`, and call it with the client they make before the rest."""
    signature = inspect.signature(connect)
    options = signature.parameters
    own = list(inspect.signature(command).parameters.values())[1:]
    own.append(inspect.Parameter("quiet", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Quiet))
    wants_context = any(parameter.name == CONTEXT.name for parameter in own)
    added = [*options.values()] if wants_context else [CONTEXT, *options.values()]

    @functools.wraps(command)
    def run(**arguments: Any) -> None:
        del arguments["quiet"]  # its callback has heard
        note_command(arguments[CONTEXT.name], signature)
        if not wants_context:
            del arguments[CONTEXT.name]
        with connect(**{name: arguments.pop(name) for name in options}) as client:
            _report_failure(command, client, arguments)

    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in [*own, *added]]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _report_failure(command: Callable[..., None], client: "Client", arguments: dict[str, Any]) -> None:
    """Run `command`; if it fails, say on stderr why, and exit with the code of that."""
    from whymatch.client import WhymatchError

    try:
        command(client, **arguments)
    except BrokenPipeError:  # the reader of our output has left
        raise
    except (WhymatchError, OSError) as error:
        raise fail(error, image_files(arguments)) from None
