"""What a shell completes: names that the server knows. It has a short time to answer; failures complete nothing."""

import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from whymatch.client import Client

TIMEOUT_S = 1.0
STORED = "image:"


def galleries(context: typer.Context, incomplete: str) -> list[str]:
    """Complete the name of a gallery."""
    return _beginning(incomplete, context, lambda client: (gallery.name for gallery in client.galleries()))


def images(context: typer.Context, incomplete: str) -> list[str]:
    """Complete the name of a stored image."""
    return _beginning(incomplete, context, lambda client: (image.name for image in client.list()))


def sources(context: typer.Context, incomplete: str) -> list[str]:
    """Complete `image:NAME`; anything else is a file, which the shell completes itself."""
    if not incomplete.startswith(STORED):
        return []
    return [STORED + name for name in images(context, incomplete.removeprefix(STORED))]


def labels(context: typer.Context, incomplete: str) -> list[str]:
    """Complete a label of the gallery."""
    return _beginning(incomplete, context, lambda client: (one.label for one in client.labels() if one.label))


def _beginning(incomplete: str, context: typer.Context, ask: "Callable[[Client], Iterable[str]]") -> list[str]:
    """Return the names that begin like `incomplete`, none if the server does not say."""
    from whymatch.client.cli.connection import connect

    given = {name: context.params.get(name) for name in inspect.signature(connect).parameters}
    options = {name: value for name, value in given.items() if value is not None} | {"timeout": TIMEOUT_S}
    try:
        with connect(**options) as client:
            return [name for name in ask(client) if name.startswith(incomplete)]
    except Exception:  # whatever it is, the line is being typed
        return []
