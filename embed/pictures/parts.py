"""Image files taken apart by their own lengths: what the pixels require, and what is said beside them.

Programs that write images put much beside the pixels: videos behind photographs, workflows as text, maps of depth,
thumbnails. None of it reaches a decoder, so it cannot refuse an image, cost time or count against a limit.
"""

import re
import struct
import zlib
from dataclasses import dataclass, replace

MAX_METADATA_BYTES = 4 * 2**20
"""Profiles and EXIF are smaller; what unpacks to more is left out."""
MAX_SEGMENTS = 20_000
"""More segments or chunks than any program writes; what follows is left out."""
ORIENTATION = 0x0112  # the EXIF tag
INTEROPERABILITY_INDEX = (0x8769, 0xA005, 1)  # in the third of three nested tables
NUMBERS = {1: "B", 3: "H", 4: "I"}  # types of EXIF
XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')


@dataclass(frozen=True)
class Parts:
    """An image file without what its pixels do not require, and what it says beside them."""

    pixels: bytes
    """A file of the same format."""
    exif: bytes = b""
    xmp: bytes = b""
    profile: bytes = b""
    """The ICC profile of the colors."""
    color_key: tuple[int, ...] = ()
    """The one transparent color of a PNG, a number for each channel at the depth of the file."""

    @property
    def orientation(self) -> int:
        """How the pixels are turned, 1 to 8, as EXIF says; metadata that cannot be read says nothing."""
        kind, value, order = _exif_entry(self.exif, ORIENTATION)
        found: int = struct.unpack_from(order + NUMBERS[kind], value)[0] if kind in NUMBERS else 0
        if not found and (match := XMP_ORIENTATION.search(self.xmp)):
            found = int(match[1])
        return found if 1 <= found <= 8 else 1

    @property
    def is_adobe_rgb(self) -> bool:
        """Whether EXIF says what cameras do that are set to Adobe RGB."""
        return _exif_entry(self.exif, *INTEROPERABILITY_INDEX)[1].startswith(b"R03")


def _exif_entry(exif: bytes, *tags: int) -> tuple[int, bytes, str]:
    """Return type, first four bytes and byte order of what EXIF has under nested tags; type 0 and zeros if nothing.

    Pillow reads all tags, which takes long where they are hostile.
    """
    exif = exif.removeprefix(b"Exif\0\0")
    order = "<" if exif.startswith(b"II") else ">"
    kind, value = 0, exif[4:8]
    try:
        for tag in tags:
            (start,) = struct.unpack(order + "I", value)
            (count,) = struct.unpack_from(order + "H", exif, start)
            entries = range(start + 2, start + 2 + 12 * count, 12)
            entry = next(one for one in entries if struct.unpack_from(order + "H", exif, one)[0] == tag)
            kind, value = struct.unpack_from(order + "2xH4x4s", exif, entry)
    except (struct.error, StopIteration):  # damaged EXIF says nothing of the pixels, so they are taken as they are
        return 0, bytes(4), order
    return kind, value, order


def take_apart(content: bytes) -> Parts:
    """Take apart the formats that carry much; others are returned whole."""
    if content.startswith(b"\xff\xd8"):
        return _jpeg(content)
    if content.startswith(b"\x89PNG"):
        return _png(content)
    if content.startswith(b"RIFF"):
        return _webp(content)
    return Parts(content)


# ---------------------------------------------------------------- JPEG

SCAN, END, EXIF_OR_XMP, PROFILE, COMMENT = 0xDA, 0xD9, 0xE1, 0xE2, 0xFE
ALONE = {0x01, 0xD8, *range(0xD0, 0xD8)}  # markers without a segment
PADDED = re.compile(rb"\xff+")
MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""In a scan 0xff is followed by 0x00 or a restart; anything else ends it."""


def _jpeg(content: bytes) -> Parts:
    kept, exif, xmp, position = [b"\xff\xd8"], b"", b"", 2
    profile: list[bytes] = []
    for _ in range(MAX_SEGMENTS):
        found = PADDED.search(content, position)
        if not found or found.end() + 3 > len(content):
            break
        position = found.end() - 1
        marker = content[position + 1]
        if marker in (SCAN, END):
            kept.append(content[position:])
            break
        if marker in ALONE or marker == 0:
            position += 2
            continue
        end = position + 2 + int.from_bytes(content[position + 2 : position + 4], "big")
        data = content[position + 4 : end]
        if _is_for_pixels(marker, data):
            kept.append(content[position:end])
        elif marker == EXIF_OR_XMP and data.startswith(b"Exif\0\0"):
            exif = exif or data  # the first has the turn
        elif marker == EXIF_OR_XMP and data.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
            xmp = data
        elif marker == PROFILE and data.startswith(b"ICC_PROFILE\0"):
            profile.append(data[12:])
        position = max(end, position + 2)
    return Parts(b"".join(kept), exif, xmp, b"".join(part[2:] for part in sorted(profile)))


def _is_for_pixels(marker: int, data: bytes) -> bool:
    """Say whether a segment is more than metadata: JFIF and Adobe's say how colors are stored."""
    if marker in (0xE0, 0xEE):
        return data[:5] in (b"JFIF\0", b"Adobe") and len(data) >= 12
    return marker != COMMENT and not 0xE0 <= marker <= 0xEF


def count_scans(content: bytes, enough: int) -> int:
    """Return how often a JPEG that was taken apart goes over its pixels, up to its end marker.

    Nothing is searched if the whole file has no more than `enough`, which it almost never does.
    """
    scans = content.count(b"\xff\xda")
    return scans if scans <= enough else len(_scans(content, enough + 1)[0])


def complete_jpeg(content: bytes) -> tuple[bytes, bytes] | None:
    """Return two copies of a JPEG whose end marker is missing, continued with unlike bits.

    They decode to the same pixels only if not one bit of these is needed. None: the end marker is there, or passes
    over the pixels are missing.
    """
    scans, ended = _scans(content)
    if ended or not scans:
        return None
    frame = re.search(rb"\xff[\xc0\xc1\xc2]", content)
    progressive = frame is not None and frame[0] == b"\xff\xc2"
    if progressive and not _has_all_bits(scans):
        return None
    end = b"\xff\xd9" if progressive else b""  # without it, a decoder that requires more says so
    return content + bytes(8) + end, content + b"\xfe" * 8 + end


def _scans(content: bytes, most: int = MAX_SEGMENTS) -> tuple[list[bytes], bool]:
    """Return the headers of the scans, `most` at most, and whether the end marker is there."""
    scans: list[bytes] = []
    position = 2
    for _ in range(MAX_SEGMENTS):
        if (found := MARKER.search(content, position)) is None:
            return scans, False
        position, marker = found.end(), content[found.end() - 1]
        if marker == END or len(scans) == most:
            return scans, True
        if marker not in ALONE:
            length = int.from_bytes(content[position : position + 2], "big")
            if marker == SCAN:
                scans.append(content[position + 2 : position + length])
            position += length
    return [b""] * most, True  # hostile: as good as too many


def _has_all_bits(scans: list[bytes]) -> bool:
    """Say whether the passes of a progressive JPEG bring every coefficient in full."""
    missing: dict[int, list[int]] = {}
    for scan in scans:
        if len(scan) < 1 + 2 * scan[0] + 3:
            return False
        first, last, bits = scan[1 + 2 * scan[0] :][:3]
        for component in scan[1 : 1 + 2 * scan[0] : 2]:
            known = missing.setdefault(component, [13] * 64)
            known[first : last + 1] = [bits & 15] * (min(last, 63) + 1 - first)
    return all(not any(known) for known in missing.values())


# ---------------------------------------------------------------- PNG


def _png(content: bytes) -> Parts:
    kept, found = [content[:8]], Parts(b"")
    position, color = 8, 0
    for _ in range(MAX_SEGMENTS):
        if position + 8 > len(content):
            break
        length, kind = struct.unpack_from(">I4s", content, position)
        data = content[position + 8 : position + 8 + length] if kind != b"IDAT" else b""
        if kind == b"IEND" or not kind.isalpha():
            break
        if kind == b"IHDR" and length >= 13:
            color = data[9]
        if kind == b"tRNS" and color != 3:
            found = replace(found, color_key=struct.unpack(f">{len(data) // 2}H", data[: len(data) // 2 * 2]))
        elif kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT"):
            kept.append(_whole_chunk(content, position, length))
        elif length <= MAX_METADATA_BYTES:
            found = _png_metadata(found, kind, data)
        position += 12 + length
    return replace(found, pixels=b"".join([*kept, _chunk(b"IEND", b"")]))


def _whole_chunk(content: bytes, position: int, length: int) -> bytes:
    if position + 12 + length <= len(content):
        return content[position : position + 12 + length]
    return _chunk(content[position + 4 : position + 8], content[position + 8 : position + 8 + length])


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png_metadata(found: Parts, kind: bytes, data: bytes) -> Parts:
    if kind == b"eXIf":
        return replace(found, exif=b"Exif\0\0" + data)
    name, _, rest = data.partition(b"\0")
    if kind == b"iCCP" and not found.profile:
        return replace(found, profile=_unpacked(rest[1:]))
    if kind == b"iTXt" and not found.xmp and name == b"XML:com.adobe.xmp":
        text = rest[2:].split(b"\0", 2)[-1]
        return replace(found, xmp=_unpacked(text) if rest[:1] == b"\1" else text)
    if kind in (b"zTXt", b"tEXt") and not found.exif and name in (b"Raw profile type exif", b"Raw profile type APP1"):
        text = _unpacked(rest[1:]) if kind == b"zTXt" else rest
        try:
            return replace(found, exif=bytes.fromhex("".join(text.decode("latin-1").split("\n")[3:])))
        except ValueError:
            return found
    return found


TOO_LONG = b"too long, or damaged; nothing more of the kind is unpacked"


def _unpacked(data: bytes) -> bytes:
    try:
        unpacker = zlib.decompressobj()
        unpacked = unpacker.decompress(data, MAX_METADATA_BYTES)
    except zlib.error:
        return TOO_LONG
    return unpacked if not unpacker.unconsumed_tail else TOO_LONG


# ---------------------------------------------------------------- WebP

WITH_METADATA = 0x20 | 0x08 | 0x04  # flags of VP8X: a profile, EXIF, XMP


def _webp(content: bytes) -> Parts:
    kept: list[bytes] = []
    said: dict[bytes, bytes] = {}
    position, end = 12, min(len(content), max(20, 8 + int.from_bytes(content[4:8], "little")))
    for _ in range(MAX_SEGMENTS):
        if position + 8 > end:
            break
        kind, length = struct.unpack_from("<4sI", content, position)
        data = content[position + 8 : min(end, position + 8 + length)]
        if kind == b"VP8X" and data:
            data = bytes([data[0] & ~WITH_METADATA]) + data[1:]
        if kind in (b"VP8X", b"ANIM", b"ALPH", b"VP8 ", b"VP8L") or (kind == b"ANMF" and b"ANMF" not in said):
            kept.append(struct.pack("<4sI", kind, length) + data + bytes(len(data) % 2))
        said.setdefault(kind, data)
        position += 8 + length + length % 2
    body = b"WEBP" + b"".join(kept)
    pixels = b"RIFF" + struct.pack("<I", len(body)) + body
    return Parts(pixels, said.get(b"EXIF", b""), said.get(b"XMP ", b""), said.get(b"ICCP", b"")[:MAX_METADATA_BYTES])
