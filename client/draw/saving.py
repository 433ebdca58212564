"""How every PNG is saved: with where it comes from in its text, for whoever finds the picture alone."""

import io
import struct
import zlib
from pathlib import Path

from PIL import Image

from whymatch.client.provenance import provenance_json
from whymatch.client.results import Provenance
from whymatch.client.version import __version__

HEADER_BYTES = 8 + 25
"""Of a PNG: its signature and its first chunk, which is always IHDR."""


def save_png(picture: Image.Image | bytes, file: Path, provenance: Provenance | None) -> None:
    """Save a picture, or a PNG as the server drew it, with the text `whymatch` (JSON) and `Software`.

    provenance: of the answer that it shows; None if it shows none, or several.
    """
    png = picture if isinstance(picture, bytes) else _encoded(picture)
    texts = {"Software": f"whymatch {__version__}", "whymatch": provenance_json(provenance)}
    chunks = [_text_chunk(key, text) for key, text in texts.items()]
    file.write_bytes(b"".join([png[:HEADER_BYTES], *chunks, png[HEADER_BYTES:]]))


def _encoded(picture: Image.Image) -> bytes:
    png = io.BytesIO()
    picture.save(png, "PNG")
    return png.getvalue()


def _text_chunk(key: str, text: str) -> bytes:
    """Return a tEXt chunk: length, kind, key and text with a zero between them, checksum."""
    body = b"tEXt" + key.encode("ascii") + b"\0" + text.encode("ascii")
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
