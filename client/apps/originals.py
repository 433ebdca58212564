"""Images as they are, small, to draw them beside their maps."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from whymatch.client.errors import NotFound
from whymatch.client.inputs import Stored, image_bytes

if TYPE_CHECKING:
    import PIL.Image

    from whymatch.client.client import Client


def original(
    client: Client, source: bytes | os.PathLike[str] | Stored, at_generation: int | None = None
) -> PIL.Image.Image | None:
    """Return an image upright, or None if only the server can read it, or if it has been deleted meanwhile.

    at_generation: of the gallery of a stored image; None means now.
    """
    from whymatch.client.draw.differences import load_picture

    try:
        if isinstance(source, Stored):
            content = client.content(source.name, at_generation=at_generation)
        else:
            content = image_bytes(source)
    except NotFound:
        return None
    return load_picture(content)
