import re
from pathlib import Path

import grpc
import pytest

from whymatch.embed import BadFolder, BadModel, NotAnImage, TrainingFailed, WhymatchError
from whymatch.index import UnknownLabel
from whymatch.server.status import CODES, MAX_MESSAGE_BYTES, code_of, message_of, reason_of
from whymatch.server.wire.answers_errors import DOMAIN, to_status
from whymatch.v1 import errors_pb2

PROTO = Path(errors_pb2.__file__).with_name("errors.proto")


def codes_in_the_proto() -> dict[str, str]:
    """Return the reasons of the enum, and the code at the end of each comment."""
    found = re.findall(r"//[^\n]* ([A-Z_]+)\.\n\s+ERROR_REASON_(\w+) = [1-9]", PROTO.read_text())
    return {reason: code for code, reason in found}


def classes(root: type[WhymatchError]) -> set[type[WhymatchError]]:
    return {root}.union(*map(classes, root.__subclasses__()))


def test_the_table_the_enum_and_its_comments_agree():
    names = errors_pb2.ErrorReason.keys()
    enum = {name.removeprefix("ERROR_REASON_") for name in names} - {"UNSPECIFIED"}
    assert set(CODES) == enum
    assert {reason: code.name for reason, code in CODES.items()} == codes_in_the_proto()


def test_every_error_class_has_a_reason_of_its_own_in_the_enum():
    ours = [one for one in classes(WhymatchError) if one.__module__.startswith("whymatch.")]
    reasons = [one.reason for one in ours]
    assert len(set(reasons)) == len(reasons)
    elsewhere = {BadModel.reason, BadFolder.reason, TrainingFailed.reason}  # found before there is a call, or without
    assert set(reasons) - elsewhere == set(CODES)


def test_what_is_not_the_callers_mistake_is_internal_and_says_nothing():
    for err in (KeyError("secret"), BadModel("secret"), WhymatchError("secret")):
        assert (code_of(err), reason_of(err)) == (grpc.StatusCode.INTERNAL, "INTERNAL")
        assert "secret" not in message_of(err)


@pytest.mark.parametrize("letter", ["a", "ä", "𝄞"])
def test_a_status_fits_into_the_metadata_that_clients_accept(letter):
    status = to_status(UnknownLabel(letter * 10_000, "default", []))
    ((_, details),) = status.trailing_metadata
    assert MAX_MESSAGE_BYTES <= len(status.details.encode()) < MAX_MESSAGE_BYTES + 10
    assert 3 * len(status.details.encode()) + 4 / 3 * len(details) < 8000


def test_a_status_names_the_domain_and_the_reason():
    status = to_status(NotAnImage("these bytes are no image"))
    assert (status.code, status.details) == (grpc.StatusCode.INVALID_ARGUMENT, "these bytes are no image")
    ((key, details),) = status.trailing_metadata
    assert key == "grpc-status-details-bin"
    assert DOMAIN.encode() in details
    assert b"NOT_AN_IMAGE" in details
