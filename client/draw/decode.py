"""Image files as pictures, decoded as the server decodes them."""

from PIL import Image

from whymatch.embed.pictures import open_picture

MAX_PIXELS = 2**31
"""The server decides which images are too large; what it has served is drawn."""


def decode(content: bytes, *, background: str = "white") -> Image.Image:
    """Return an image file upright and in sRGB; transparency shows the background.

    Raises what Pillow raises where it cannot read the file.
    """
    return open_picture(content, max_pixels=MAX_PIXELS).rgb(background)
