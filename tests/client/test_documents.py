"""The JSON documents of the command line keep their names and their order: other programs read them."""

import json
from pathlib import Path

import pytest
from sample_results import sample_documents

KEPT = json.loads((Path(__file__).parent / "documents.json").read_text())


@pytest.fixture(scope="module")
def made() -> dict[str, object]:
    return sample_documents()


def test_every_document_is_kept(made):
    assert list(made) == list(KEPT)


@pytest.mark.parametrize("name", KEPT)
def test_a_document_is_what_it_was(made, name):
    assert json.dumps(made[name], allow_nan=False) == json.dumps(KEPT[name])
