"""What files are by their first bytes: the formats that are read, and those that are refused by their names."""

import re

READ = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "HEIF")
MEDIA_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
    "PPM": "image/x-portable-anymap",
    "AVIF": "image/avif",
    "HEIF": "image/heif",
}
MAGIC = (
    (rb"\xff\xd8\xff", "JPEG"),
    (rb"\x89PNG\r\n\x1a\n", "PNG"),
    (rb"RIFF....WEBP", "WEBP"),
    (rb"GIF8[79]a", "GIF"),
    (rb"BM", "BMP"),
    (rb"II\x2a\0....CR\x02", "Canon raw (CR2)"),
    (rb"MM\0\x2a|II\x2a\0|MM\x2a\0|II\0\x2a|MM\0\x2b|II\x2b\0", "TIFF"),
    (rb"P[1-6]\s", "PPM"),
    (rb"P[fF]\s", "floating-point map (PFM)"),
    (rb"P7\n", "PAM"),
    (rb"....ftypcrx ", "Canon raw (CR3)"),
    (rb"....ftypqt  |....(moov|mdat|wide)", "QuickTime video"),
    (rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", "JPEG 2000"),
    (rb"%PDF-", "PDF"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "PostScript (EPS)"),
    (rb"8BPS\0[\1\2]", "Photoshop (PSD)"),
    (rb"gimp xcf", "GIMP (XCF)"),
    (rb"\x1aE\xdf\xa3", "WebM or Matroska video"),
    (rb"RIFF....AVI ", "AVI video"),
    (rb"FUJIFILMCCD-RAW", "Fujifilm raw (RAF)"),
    (rb"IIRO|IIRS|MMOR", "Olympus raw (ORF)"),
    (rb"IIU\0", "Panasonic raw (RW2)"),
    (rb"II\xbc\x01", "JPEG XR"),
    (rb"\0MRM", "Minolta raw (MRW)"),
    (rb"FOVb", "Sigma raw (X3F)"),
    (rb"\x76\x2f\x31\x01", "OpenEXR"),
    (rb"#\?(RADIANCE|RGBE)", "Radiance HDR"),
    (rb"DDS ", "DirectDraw surface (DDS)"),
    (rb"qoif", "QOI"),
    (rb"\0\0[\1\2]\0", "icon (ICO or CUR)"),
    (rb"icns", "icon (ICNS)"),
    (rb"SIMPLE  =", "FITS"),
    (rb".{128}DICM", "DICOM"),
    (rb"AT&TFORM", "DjVu"),
    (rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF", "Windows metafile"),
    (rb"\x0a[\0-\x05]\x01[\1\2\4\x08]", "PCX"),
    (rb"PK\x03\x04", "ZIP archive"),
)
PATTERNS = [(re.compile(pattern, re.DOTALL), kind) for pattern, kind in MAGIC]
SVG = re.compile(rb"\s*(<\?xml|<!--|<!DOCTYPE svg|<svg)[^\0]{0,4000}?<svg|\s*<svg", re.IGNORECASE)
BRANDS = {b"avif": "AVIF", b"avis": "AVIF"}
HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs")


def kind_of(content: bytes) -> str:
    """Return the name of a file's format, one of `READ` or another; empty if its bytes are of no known one."""
    start = content[:64_000]
    for pattern, kind in PATTERNS:
        if pattern.match(start[:512]):
            return kind
    if start[4:8] == b"ftyp":
        return _of_brands(start)
    start = start.removeprefix(b"\xef\xbb\xbf")
    if SVG.match(start):
        return "SVG"
    return "gzip archive (SVGZ, perhaps)" if start.startswith(b"\x1f\x8b") else ""


def _of_brands(start: bytes) -> str:
    """Return the kind of an ISO media file by its main brand, then by those that it is compatible with."""
    end = max(16, min(int.from_bytes(start[:4], "big"), 256))
    brands = [start[8:12], *(start[place : place + 4] for place in range(16, end, 4))]
    for brand in brands:
        if brand in BRANDS:
            return BRANDS[brand]
        if brand in HEIF_BRANDS:
            return "HEIF"
    return "HEIF" if brands[0] in (b"mif1", b"msf1", b"mif2") else "MP4 video"


def advice(kind: str) -> str:
    """Say what to do with a file of a kind that is not read."""
    if "video" in kind:
        return "send a frame of it as JPEG or PNG"
    if "raw" in kind:
        return "develop it, and save it as JPEG, or as TIFF of 16 bits"
    if "archive" in kind:
        return "unpack it, and send its images one by one"
    return "save it as PNG or JPEG"
