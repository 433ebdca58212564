"""The option --at-generation: images of a gallery as it was."""

from typing import TYPE_CHECKING, Annotated

import typer

from whymatch.client.cli.options import whole_number

if TYPE_CHECKING:
    from whymatch.client import Client

AtGeneration = Annotated[
    str | None,
    typer.Option(
        metavar="N|TAG",
        help="The gallery as it was: the number or a tag of a generation, as gallery history lists them.",
        show_default="now",
    ),
]


def generation_number(client: "Client", named: str | None) -> int | None:
    """Return the generation that --at-generation names, None for now. Raises NotFound for an unknown tag."""
    from whymatch.client import NotFound

    if named and named.startswith("-"):
        raise typer.BadParameter(f"{named}; generations count from 0", param_hint="--at-generation")
    if named is None or named.isdecimal():
        return whole_number(64)(None if named is None else int(named))
    for generation in client.generations():
        if named in generation.tags:
            return generation.number
    raise NotFound(
        f"no generation of the gallery {client.gallery!r} has the tag {named!r}; `whymatch gallery history "
        f"{client.gallery}` lists them",
        reason="UNKNOWN_TAG",
    )
