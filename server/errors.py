"""The server's own errors, and the gRPC status that each reason has."""

from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc import StatusCode

from whymatch.embed import WhymatchError

DOMAIN = "whymatch"
MAX_MESSAGE = 800
"""Clients accept 8 KiB of metadata, and the message is in it twice, once with three bytes for one."""

STATUS = {
    "INTERNAL": StatusCode.INTERNAL,
    "NOT_AN_IMAGE": StatusCode.INVALID_ARGUMENT,
    "BROKEN_IMAGE": StatusCode.INVALID_ARGUMENT,
    "IMAGE_TOO_LARGE": StatusCode.INVALID_ARGUMENT,
    "TOO_MANY_PIXELS": StatusCode.INVALID_ARGUMENT,
    "BAD_VECTOR": StatusCode.INVALID_ARGUMENT,
    "BAD_LIMIT": StatusCode.INVALID_ARGUMENT,
    "BAD_NAME": StatusCode.INVALID_ARGUMENT,
    "BAD_REQUEST": StatusCode.INVALID_ARGUMENT,
    "BAD_INDEX_FACTORY": StatusCode.INVALID_ARGUMENT,
    "BAD_PAGE_TOKEN": StatusCode.INVALID_ARGUMENT,
    "UNKNOWN_GALLERY": StatusCode.NOT_FOUND,
    "UNKNOWN_IMAGE": StatusCode.NOT_FOUND,
    "UNKNOWN_LABEL": StatusCode.NOT_FOUND,
    "GALLERY_EXISTS": StatusCode.ALREADY_EXISTS,
    "IMAGE_EXISTS": StatusCode.ALREADY_EXISTS,
    "MODEL_MISMATCH": StatusCode.FAILED_PRECONDITION,
    "NEWER_FORMAT": StatusCode.FAILED_PRECONDITION,
    "BROKEN_GALLERY": StatusCode.DATA_LOSS,
    "READ_ONLY_STORAGE": StatusCode.FAILED_PRECONDITION,
    "STORAGE_IN_USE": StatusCode.FAILED_PRECONDITION,
    "STORAGE_FULL": StatusCode.RESOURCE_EXHAUSTED,
    "UNAUTHENTICATED": StatusCode.UNAUTHENTICATED,
    "READ_ONLY_TOKEN": StatusCode.PERMISSION_DENIED,
    "TOO_MANY_CALLS": StatusCode.RESOURCE_EXHAUSTED,
    "SHUTTING_DOWN": StatusCode.UNAVAILABLE,
    "DEADLINE_EXCEEDED": StatusCode.DEADLINE_EXCEEDED,
}


class CannotStart(Exception):
    """The server cannot start as asked; the message says what to change."""


class BadLimit(WhymatchError):
    """The limit is out of range."""

    reason = "BAD_LIMIT"

    def __init__(self, limit: int, largest: int) -> None:
        super().__init__(f"the limit is {limit}; ask for 1 to {largest} matches, or leave it out for 10")


class BadPageToken(WhymatchError):
    """A page token was not made by this server."""

    reason = "BAD_PAGE_TOKEN"

    def __init__(self) -> None:
        super().__init__("the page token is not one of this list; pass next_page_token of the page before unchanged")


class Unauthenticated(WhymatchError):
    """The call carries no known token."""

    reason = "UNAUTHENTICATED"

    def __init__(self) -> None:
        super().__init__("this server wants a token that it knows, in the metadata `authorization: Bearer TOKEN`")


class ReadOnlyToken(WhymatchError):
    """The token may only read."""

    reason = "READ_ONLY_TOKEN"

    def __init__(self, method: str) -> None:
        super().__init__(f"this token may only read; {method} needs a token that may write")


class TooManyCalls(WhymatchError):
    """The server runs as many calls as it may."""

    reason = "TOO_MANY_CALLS"

    def __init__(self, most: int) -> None:
        super().__init__(f"the server already runs {most} calls, as many as it may; try again after a pause")


class ShuttingDown(WhymatchError):
    """The server is stopping."""

    reason = "SHUTTING_DOWN"

    def __init__(self) -> None:
        super().__init__("the server is stopping; try again later")


class DeadlineExceeded(WhymatchError):
    """The call took too long."""

    reason = "DEADLINE_EXCEEDED"

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the call took longer than the server's {seconds:g} s; set a longer deadline on the call")


class Internal(WhymatchError):
    """A fault of the server."""

    reason = "INTERNAL"

    def __init__(self, request_id: str) -> None:
        super().__init__(f"the server failed; its log says more under the request id {request_id}")


def to_status(error: WhymatchError) -> status_pb2.Status:
    """Return an error as a google.rpc.Status with an ErrorInfo."""
    info = any_pb2.Any()
    info.Pack(error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN))
    code = code_pb2.Code.Value(STATUS[error.reason].name)
    message = str(error)
    shown = message if len(message) <= MAX_MESSAGE else f"{message[:MAX_MESSAGE]}..."
    return status_pb2.Status(code=code, message=shown, details=[info])
