"""Errors of the client from the failures that gRPC reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from whymatch.client import errors

if TYPE_CHECKING:
    from whymatch.client.results import PredictionDifferenceExplanation

_DOMAIN = "whymatch"


def from_grpc(failure: grpc.RpcError, address: str, deadline_s: float | None = None) -> errors.WhymatchError:
    """Return our error for a failed call, sync or async, to the server at `address`.

    deadline_s: what the caller gave the whole call, if it did.
    """
    code = failure.code().name
    reason = _reason(failure)
    message = failure.details() or code
    if not reason:  # gRPC's own words, not a whymatch server's
        if code == "RESOURCE_EXHAUSTED" and "larger than max" in message:
            return errors.MessageTooLarge(f"more bytes than the server at {address} receives at once ({message})")
        message = _explained(code, message, address, deadline_s)
    return errors.ERRORS.get(code, errors.WhymatchError)(message, reason=reason)


def stall(timeout_s: float | None) -> errors.DeadlineExceeded:
    """Return the error for a stream whose answers have stopped."""
    return errors.DeadlineExceeded(
        f"the server has answered nothing for {timeout_s:g} s; try again, or give the client a longer timeout_s"
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
    longer = type(error)(f"{error}; {way}", reason=error.reason)
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


def _explained(code: str, message: str, address: str, deadline_s: float | None) -> str:
    """Say what to do about a failure in which no whymatch server had a word."""
    if code == "UNAVAILABLE":
        return f"no whymatch server answers at {address}; start one with `whymatch serve` ({message})"
    if code == "DEADLINE_EXCEEDED" and deadline_s is not None:
        return f"the call was not done after the {deadline_s:g} s of its deadline"
    if code == "DEADLINE_EXCEEDED":
        return f"the server at {address} did not answer in time; give the client a longer timeout_s"
    if code == "UNIMPLEMENTED":
        return f"the server at {address} does not know this call; is it an older whymatch? ({message})"
    return message
