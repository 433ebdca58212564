"""Errors as messages: the status of a call, and what became of one image of a stream."""

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from whymatch.server.status import code_of, message_of, reason_of
from whymatch.v1 import errors_pb2

DOMAIN = "whymatch"


def to_status(err: BaseException) -> grpc.Status:
    """Return the status that a call failing with this error ends with: a google.rpc.Status with the reason."""
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.ErrorInfo(reason=reason_of(err), domain=DOMAIN))
    code: int = code_of(err).value[0]
    return rpc_status.to_status(status_pb2.Status(code=code, message=message_of(err), details=[detail]))


def error(err: Exception) -> errors_pb2.Error:
    """Return the error of one image of a stream."""
    code: int = code_of(err).value[0]
    reason = errors_pb2.ErrorReason.Value(f"ERROR_REASON_{reason_of(err)}")
    return errors_pb2.Error(code=code, reason=reason, message=message_of(err))
