"""Image files as pictures, decoded as the server decodes them."""

from PIL import Image

from whymatch.embed.pictures import open_picture

MAX_PIXELS = 2**31
"""The server decides which images are too large; what it has served is drawn."""


def decode(content: bytes, *, background: str = "white") -> Image.Image:
    """Return an image file upright and in sRGB; transparency shows the background.

    Raises OSError where Pillow cannot read the file, whatever it meets in it.
    """
    try:
        return open_picture(content, max_pixels=MAX_PIXELS).rgb(background)
    except OSError:
        raise
    except Exception as error:
        raise OSError(f"the picture cannot be read: {error}") from error
