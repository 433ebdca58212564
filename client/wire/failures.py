"""Errors of the client from the failures that gRPC reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from whymatch.client import errors
from whymatch.client.wire.encryption import of_encryption

if TYPE_CHECKING:
    from whymatch.client.results import PredictionDifferenceExplanation

_DOMAIN = "whymatch"
_REQUEST_ID = "x-request-id"


def from_grpc(
    failure: grpc.RpcError, address: str, deadline_s: float | None = None, *, tls: bool = False, closed: bool = False
) -> errors.WhymatchError:
    """Return our error for a failed call, sync or async, to the server at `address`.

    deadline_s: what the caller gave the whole call, if it did.
    tls: whether the channel is encrypted.
    closed: whether the caller has closed the client; nobody else here cancels a call and waits for it.
    """
    code = failure.code().name
    if code == "CANCELLED":
        if closed:
            return client_closed()
        code = "UNAVAILABLE"
    reason = _reason(failure)
    message = failure.details() or code
    kind = errors.ERRORS.get(code, errors.WhymatchError)
    if not reason:  # gRPC's own words, not a whymatch server's
        if code == "RESOURCE_EXHAUSTED" and "larger than max" in message:
            kind, message = (
                errors.MessageTooLarge,
                f"more bytes than the server at {address} receives at once ({message})",
            )
        elif failure.code().name == "CANCELLED":
            message = f"the server at {address} gave up the call; it may be stopping, try again ({message})"
        else:
            message = _explained(code, message, address, deadline_s, tls)
    request_id = _request_id(failure)
    if kind is errors.Internal and request_id:
        message = f"{message} ({_REQUEST_ID}: {request_id})"
    return kind(message, reason=reason, request_id=request_id)


def client_closed() -> errors.Cancelled:
    """Return the error for a call of a client that was closed, before the call or while it ran."""
    return errors.Cancelled("the client is closed; make a new one")


def stall(timeout_s: float | None) -> errors.DeadlineExceeded:
    """Return the error for a stream whose answers have stopped."""
    return errors.DeadlineExceeded(
        f"the server has answered nothing for {timeout_s:g} s; try again, or with a longer `timeout_s`"
    )


def unanswered(count: int) -> errors.Internal:
    """Return the error for a stream that the server ended too early."""
    return errors.Internal(f"the server ended the stream without an answer to {count} images; add them again")


def unfinished(what: str) -> errors.Internal:
    """Return the error for a stream that the server ended before `what`."""
    return errors.Internal(f"the server ended the stream before {what}")


def interrupted(
    error: errors.WhymatchError, name: str, partial: PredictionDifferenceExplanation | None
) -> errors.WhymatchError:
    """Return `error` with the maps there are, and with the way to go on with the explanation of that name."""
    way = f"resume_prediction_difference({name!r}) goes on, or on the command line --resume {name}"
    longer = type(error)(f"{error}; {way}", reason=error.reason, request_id=error.request_id)
    longer.partial = partial
    return longer


def _reason(failure: grpc.RpcError) -> str:
    """Return the reason that a whymatch server gives, or an empty string."""
    try:
        status = rpc_status.from_call(cast(grpc.Call, failure))
    except ValueError:  # the status contradicts the call: not from a whymatch server
        return ""
    info = error_details_pb2.ErrorInfo()
    for detail in status.details if status else ():
        if detail.Unpack(info) and info.domain == _DOMAIN:
            return str(info.reason)
    return ""


def _request_id(failure: grpc.RpcError) -> str:
    """Return the server's name for the call, an empty string if it gave none."""
    metadata = cast(grpc.Call, failure).trailing_metadata() or ()
    return next((str(value) for key, value in metadata if key == _REQUEST_ID), "")


def _explained(code: str, message: str, address: str, deadline_s: float | None, tls: bool) -> str:
    """Say what to do about a failure in which no whymatch server had a word."""
    if code == "UNAVAILABLE":
        if why := of_encryption(message, address, tls=tls):
            return f"{why} ({message})"
        return f"no whymatch server answers at {address}; start one with `whymatch serve` ({message})"
    if code == "DEADLINE_EXCEEDED" and deadline_s is not None:
        return f"the call was not done after the {deadline_s:g} s of its deadline"
    if code == "DEADLINE_EXCEEDED":
        return f"the server at {address} did not answer in time; try again with a longer `timeout_s`"
    if code == "UNIMPLEMENTED":
        return f"the server at {address} does not know this call; is it an older whymatch? ({message})"
    return message
