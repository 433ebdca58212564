"""Galleries that older versions wrote: `tests/data` has one of each format."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from whymatch.index import Galleries

DATA = Path(__file__).parents[1] / "data"
FORMATS = [1, 2]


@pytest.fixture(params=FORMATS)
def old(request, tmp_path, model):
    """A data directory with a gallery of an older format."""
    folder = tmp_path / "galleries/default"
    shutil.copytree(DATA / f"gallery-format-{request.param}", folder)
    with sqlite3.connect(folder / "gallery.sqlite") as connection:  # whatever model the tests use today
        connection.execute("UPDATE facts SET value = ? WHERE key = 'model'", (model.fingerprint,))
    connection.close()
    return tmp_path


def test_a_gallery_of_an_older_format_is_whole(old, model, new_image):
    for _ in range(2):  # when it becomes one of this format, and after that
        with Galleries(old, model) as galleries:
            gallery = galleries.open("default")
            assert [(image.name, image.label, image.metadata) for image in gallery.list_images()] == [
                ("0.jpg", "even", {"number": "0"}),
                ("1.jpg", "odd", {"number": "1"}),
                ("2.jpg", "even", {"number": "2"}),
            ]
            [query] = gallery.version.embeddings(["2.jpg"])
            [[match]] = gallery.version.search(query[None], 1)
            assert match.image.name == "2.jpg"
            assert match.score == pytest.approx(1, abs=1e-6)
            assert [gallery.content(name) for name in ("0.jpg", "1.jpg")] == [b"bytes 0", b"bytes 1"]
            assert (gallery.features(["1.jpg"])[0].feature_map - new_image(1).features.feature_map).max() < 1e-3


def test_its_past_begins_when_it_became_one_of_this_format(old, model, new_image):
    with Galleries(old, model) as galleries:
        gallery = galleries.open("default")
        [first] = gallery.generations()
        assert (first.number, first.change) == (gallery.generation(), "migrate")
        assert gallery.facts().oldest_generation == first.number
        gallery.add([new_image(9)])
        assert len(gallery.list_images()) == len(gallery.at(first.number).list_images()) + 1


def test_a_head_stays_and_is_known_at_that_generation(old, model):
    with Galleries(old, model) as galleries:
        gallery = galleries.open("default")
        assert gallery.at(gallery.generation()).version.fingerprint == gallery.version.fingerprint


def test_a_crash_while_files_are_moved_is_mended_at_the_next_start(old, model, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("whymatch.index.schema.MIGRATIONS", {1: "SELECT nothing;", 2: "SELECT nothing;"})
        with Galleries(old, model) as galleries, pytest.raises(Exception, match="nothing"):
            galleries.open("default")
    with Galleries(old, model) as galleries:
        assert galleries.open("default").content("0.jpg") == b"bytes 0"
