"""Bearer tokens: who may read, who may write."""

import hmac
from collections.abc import Iterable

from whymatch.server.errors import ReadOnlyToken, Unauthenticated

WRITING = frozenset({"CreateGallery", "DeleteGallery", "AddImages", "DeleteImage"})


class Tokens:
    """Decides by token; without any token known, everybody may do everything."""

    def __init__(self, read: Iterable[str], write: Iterable[str]) -> None:
        self._read = [token.encode() for token in read]
        self._write = [token.encode() for token in write]

    def check(self, method: str, authorization: str) -> None:
        """Let a call of `method` pass or raise Unauthenticated or ReadOnlyToken."""
        if not self._read and not self._write:
            return
        scheme, _, token = authorization.partition(" ")
        given = token.encode() if scheme.lower() == "bearer" else b""
        if _among(given, self._write):
            return
        if not _among(given, self._read):
            raise Unauthenticated
        if method in WRITING:
            raise ReadOnlyToken(method)


def _among(given: bytes, known: Iterable[bytes]) -> bool:
    """Compare with every token in constant time, so that timing tells nothing of them."""
    return any([hmac.compare_digest(given, token) for token in known])  # noqa: C419  a generator would stop early
