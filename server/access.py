"""Who may call what: bearer tokens that only read and tokens that do everything."""

import codecs
import hmac
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from whymatch.server.errors import CannotStart, ReadOnlyToken, Unauthenticated

READING = (
    "Get",
    "BatchGet",
    "List",
    "Search",
    "BatchSearch",
    "Rerank",
    "Explain",
    "Embed",
    "Describe",
    "Decode",
    "Find",
    "Segment",
)
"""How the names of methods begin that change nothing; all others want a token that may write."""


@dataclass(frozen=True)
class Tokens:
    """The tokens that a server knows; with none of either kind everybody may do everything."""

    read: tuple[bytes, ...] = ()
    write: tuple[bytes, ...] = ()

    def check(self, method: str, authorization: str) -> None:
        """Let a call pass, or raise Unauthenticated or ReadOnlyToken.

        method: `Service/Method`. authorization: the value of that metadata, or an empty string.
        """
        if not self.read and not self.write:
            return
        kind, _, token = authorization.partition(" ")
        if kind.lower() != "bearer":
            raise Unauthenticated(given=False)
        if _contains(self.write, token):
            return
        if not _contains(self.read, token):
            raise Unauthenticated(given=True)
        if not method.partition("/")[2].startswith(READING):
            raise ReadOnlyToken(method)


def read_tokens(read: Path | None, write: Path | None) -> Tokens:
    """Read the files of tokens. Raises CannotStart."""
    return Tokens(_lines(read), _lines(write))


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _contains(tokens: tuple[bytes, ...], token: str) -> bool:
    """Look for a token in a time that says nothing of how much of it was right."""
    same = [hmac.compare_digest(known, token.encode()) for known in tokens]
    return any(same)


def _lines(file: Path | None) -> tuple[bytes, ...]:
    if file is None:
        return ()
    try:
        lines = [line.strip() for line in _text(file.read_bytes()).splitlines()]
    except OSError as err:
        raise CannotStart(f"the token file {str(file)!r} cannot be read: {err.strerror}") from err
    for number, line in enumerate(lines, 1):
        if not (line.isascii() and line.isprintable()):
            raise CannotStart(f"line {number} of the token file {str(file)!r} has more than plain ASCII characters")
    tokens = tuple(line.encode() for line in lines if line)
    if not tokens:
        raise CannotStart(f"the token file {str(file)!r} is empty; write one token on each line")
    return tokens


def _text(content: bytes) -> str:
    """Decode a file as the editors of any system write it: UTF-8 or, marked as such, UTF-16."""
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if utf16 else "utf-8-sig", errors="replace")
