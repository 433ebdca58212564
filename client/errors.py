"""What can go wrong in a call, as one small tree: a class for each status code, the server's message and its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from whymatch.client.results import PredictionDifferenceExplanation


class WhymatchError(Exception):
    """A call failed, or one image of a stream did. The message is the server's and says what to do."""

    code: ClassVar[str] = "UNKNOWN"
    """The name of the gRPC status code."""

    def __init__(self, message: str, *, reason: str = "", request_id: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        """The name for programs, for example `UNKNOWN_IMAGE`; empty if the error is not from a whymatch server."""
        self.request_id = request_id
        """The server's name for the call, which its log has, too; empty if no server had a word."""
        self.partial: PredictionDifferenceExplanation | None = None
        """What a long explanation had come to, if maps had arrived before it failed."""


class Cancelled(WhymatchError):
    """The client was closed, before the call or while it ran."""

    code = "CANCELLED"


class InvalidArgument(WhymatchError):
    """The request can never succeed: a broken image, a bad name, a vector or a head of the wrong length."""

    code = "INVALID_ARGUMENT"


class DeadlineExceeded(WhymatchError):
    """The answer did not come in time."""

    code = "DEADLINE_EXCEEDED"


class NotFound(WhymatchError):
    """No gallery, image or label of that name is there."""

    code = "NOT_FOUND"


class AlreadyExists(WhymatchError):
    """Something else has that name."""

    code = "ALREADY_EXISTS"


class PermissionDenied(WhymatchError):
    """The token does not allow this."""

    code = "PERMISSION_DENIED"


class ResourceExhausted(WhymatchError):
    """The server is too busy, or its disk is full."""

    code = "RESOURCE_EXHAUSTED"


class MessageTooLarge(ResourceExhausted):
    """The request is larger than the server receives at all, which ends the whole of a stream."""


class FailedPrecondition(WhymatchError):
    """The server is in no state for this: a gallery of another model or with too few images, read-only storage."""

    code = "FAILED_PRECONDITION"


class Unimplemented(WhymatchError):
    """The server does not know this call; it may be older than the client."""

    code = "UNIMPLEMENTED"


class Internal(WhymatchError):
    """A fault of the server itself; its log has the details."""

    code = "INTERNAL"


class Unavailable(WhymatchError):
    """No server answers, or it is stopping."""

    code = "UNAVAILABLE"


class DataLoss(WhymatchError):
    """The gallery's files are damaged, or the disk under them fails."""

    code = "DATA_LOSS"


class Unauthenticated(WhymatchError):
    """The token is missing or unknown."""

    code = "UNAUTHENTICATED"


ERRORS = {error.code: error for error in WhymatchError.__subclasses__()}
"""The class of each status code; any other code is a plain `WhymatchError`."""
