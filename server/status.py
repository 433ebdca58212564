"""What callers see of an error: a status code, a reason for programs, and a message for people."""

import grpc

from whymatch.embed import WhymatchError

INTERNAL = "INTERNAL"
MAX_MESSAGE_BYTES = 1000
"""Clients accept 8 KiB of metadata, and the message is in it twice, once with three bytes for one."""

CODES = {
    INTERNAL: grpc.StatusCode.INTERNAL,
    "NOT_AN_IMAGE": grpc.StatusCode.INVALID_ARGUMENT,
    "BROKEN_IMAGE": grpc.StatusCode.INVALID_ARGUMENT,
    "IMAGE_TOO_LARGE": grpc.StatusCode.INVALID_ARGUMENT,
    "TOO_MANY_PIXELS": grpc.StatusCode.INVALID_ARGUMENT,
    "BAD_VECTOR": grpc.StatusCode.INVALID_ARGUMENT,
    "BAD_LIMIT": grpc.StatusCode.INVALID_ARGUMENT,
    "BAD_NAME": grpc.StatusCode.INVALID_ARGUMENT,
    "BAD_REQUEST": grpc.StatusCode.INVALID_ARGUMENT,
    "BAD_INDEX_FACTORY": grpc.StatusCode.INVALID_ARGUMENT,
    "BAD_PAGE_TOKEN": grpc.StatusCode.INVALID_ARGUMENT,
    "UNKNOWN_GALLERY": grpc.StatusCode.NOT_FOUND,
    "UNKNOWN_IMAGE": grpc.StatusCode.NOT_FOUND,
    "UNKNOWN_LABEL": grpc.StatusCode.NOT_FOUND,
    "GALLERY_EXISTS": grpc.StatusCode.ALREADY_EXISTS,
    "IMAGE_EXISTS": grpc.StatusCode.ALREADY_EXISTS,
    "MODEL_MISMATCH": grpc.StatusCode.FAILED_PRECONDITION,
    "NEWER_FORMAT": grpc.StatusCode.FAILED_PRECONDITION,
    "BROKEN_GALLERY": grpc.StatusCode.DATA_LOSS,
    "READ_ONLY_STORAGE": grpc.StatusCode.FAILED_PRECONDITION,
    "STORAGE_IN_USE": grpc.StatusCode.FAILED_PRECONDITION,
    "STORAGE_FULL": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "STORAGE_FAILED": grpc.StatusCode.DATA_LOSS,
    "TOO_MANY_FILES": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "UNAUTHENTICATED": grpc.StatusCode.UNAUTHENTICATED,
    "READ_ONLY_TOKEN": grpc.StatusCode.PERMISSION_DENIED,
    "TOO_MANY_CALLS": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "SHUTTING_DOWN": grpc.StatusCode.UNAVAILABLE,
    "DEADLINE_EXCEEDED": grpc.StatusCode.DEADLINE_EXCEEDED,
    "BAD_REGION": grpc.StatusCode.INVALID_ARGUMENT,
    "EMPTY_REGION": grpc.StatusCode.INVALID_ARGUMENT,
    "EXAMPLES_CANCEL": grpc.StatusCode.INVALID_ARGUMENT,
    "NO_LABELED_PAIRS": grpc.StatusCode.FAILED_PRECONDITION,
    "BAD_HEAD": grpc.StatusCode.INVALID_ARGUMENT,
    "OTHER_EMBEDDING": grpc.StatusCode.FAILED_PRECONDITION,
    "TOO_FEW_IMAGES": grpc.StatusCode.FAILED_PRECONDITION,
    "BAD_LAYER": grpc.StatusCode.INVALID_ARGUMENT,
    "NO_RELU_LAYERS": grpc.StatusCode.FAILED_PRECONDITION,
    "NO_CLASS_SCORES": grpc.StatusCode.FAILED_PRECONDITION,
    "BAD_TARGET": grpc.StatusCode.INVALID_ARGUMENT,
    "BAD_WINDOW": grpc.StatusCode.INVALID_ARGUMENT,
    "UNKNOWN_EXPLANATION": grpc.StatusCode.NOT_FOUND,
    "BAD_FILTER": grpc.StatusCode.INVALID_ARGUMENT,
    "UNKNOWN_GENERATION": grpc.StatusCode.NOT_FOUND,
    "UNKNOWN_TAG": grpc.StatusCode.NOT_FOUND,
    "TAG_EXISTS": grpc.StatusCode.ALREADY_EXISTS,
    "TAGGED_GENERATION": grpc.StatusCode.FAILED_PRECONDITION,
}
"""The code of each reason, as the comments of `errors.proto` say."""


def reason_of(err: BaseException) -> str:
    """Return what programs see of an error; INTERNAL for all that is not the caller's business."""
    return err.reason if isinstance(err, WhymatchError) and err.reason in CODES else INTERNAL


def message_of(err: BaseException) -> str:
    """Return what people see of an error, short enough for metadata."""
    if reason_of(err) == INTERNAL:
        return "the server failed at this call; its log says why, under the call's `x-request-id`"
    text = str(err).encode()
    return text.decode() if len(text) <= MAX_MESSAGE_BYTES else text[:MAX_MESSAGE_BYTES].decode(errors="ignore") + "..."


def code_of(err: BaseException) -> grpc.StatusCode:
    """Return the status code of an error."""
    return CODES[reason_of(err)]
