"""What is left after crashes, full disks and damaged files."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from small_weights import SMALL

from whymatch.index import (
    BrokenGallery,
    Galleries,
    NewerFormat,
    ReadOnlyStorage,
    StorageFull,
    StorageInUse,
)

WRITER = """
import sys
from pathlib import Path
import numpy as np
from whymatch.embed import Features, load_model
from whymatch.index import Galleries, NewImage
model = load_model()
gallery = Galleries(Path(sys.argv[1]), model).open("default")
print("ready", flush=True)
for seed in range(int(sys.argv[2]), 10**9, 3):
    images = []
    for number in range(seed, seed + 3):
        alpha = np.random.default_rng(number).random((3, 4, model.dimensions), dtype=np.float32)
        features = Features(alpha, model.pooling.pool(alpha), model.pooling, model.geometry.placement(40, 30))
        images.append(NewImage(str(number), b"bytes %d" % number, features))
    gallery.add(images)
    print(*(image.name for image in images), flush=True)
""".replace("load_model()", f"load_model(weights=Path({SMALL!r}))")


def features_of(number, model):
    return np.random.default_rng(number).random((3, 4, model.dimensions), dtype=np.float32).mean((0, 1))


def test_what_was_acknowledged_survives_kill_9_and_nothing_else_is_there(tmp_path, model):
    with Galleries(tmp_path, model) as galleries:
        galleries.create("default")
    random = np.random.default_rng(0)
    acknowledged: set[str] = set()
    for attempt in range(4):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(attempt * 1_000_000)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout.readline() == "ready\n"
        for _ in range(random.integers(1, 12)):
            acknowledged |= set(writer.stdout.readline().split())
        writer.kill()
        acknowledged |= {
            name
            for line in writer.stdout.read().splitlines(keepends=True)
            if line.endswith("\n")
            for name in line.split()
        }
        writer.wait()
        writer.stdout.close()
        with Galleries(tmp_path, model) as galleries:
            gallery = galleries.open("default")
            stored = {image.name for image in gallery.list_images(limit=10_000)}
            assert acknowledged <= stored
            assert len(stored - acknowledged) <= 3 * (attempt + 1)  # at most one batch was on its way each time
            assert {path.name for path in (tmp_path / "galleries/default/contents").glob("*/*")} == {
                image.content_sha256 for image in gallery.list_images(limit=10_000)
            }
            for name in stored:
                assert gallery.content(name) == f"bytes {name}".encode()
                query = features_of(int(name), model)
                [match] = gallery.version.search((query / np.linalg.norm(query))[None], 1)[0]
                assert match.image.name == name


def test_image_files_of_a_transaction_that_never_was_are_removed(tmp_path, model, new_image):
    crash = "import os; from whymatch.index import store; store.sync = lambda _: os._exit(9); gallery.add(images)"
    with Galleries(tmp_path, model) as galleries:
        galleries.create("default").add([new_image(1)])
    contents = tmp_path / "galleries/default/contents"
    writer = WRITER.replace("gallery.add(images)", crash)
    assert subprocess.run([sys.executable, "-c", writer, str(tmp_path), "5"], capture_output=True).returncode == 9
    assert len(list(contents.glob("*/*"))) == 4
    with Galleries(tmp_path, model) as galleries:
        assert len(galleries.open("default").list_images()) == 1
        assert len(list(contents.glob("*/*"))) == 1


@pytest.fixture
def folder(tmp_path, model, new_image):
    """A gallery of 20 images, closed properly."""
    with Galleries(tmp_path, model) as galleries:
        galleries.create("default").add([new_image(seed) for seed in range(20)])
    return tmp_path / "galleries" / "default"


def finds_all(folder: Path, model, new_image) -> bool:
    with Galleries(folder.parents[1], model) as galleries:
        queries = np.stack([new_image(seed).features.embedding for seed in range(20)])
        found = galleries.open(folder.name).version.search(queries, 1)
    return [matches[0].image.name for matches in found] == [f"{seed}.jpg" for seed in range(20)]


def test_a_whole_index_file_is_taken_up(folder, model, new_image):
    before = (folder / "index.faiss").stat().st_mtime_ns
    with Galleries(folder.parents[1], model) as galleries:
        assert galleries.open("default").version._saved_generation >= 0
    assert (folder / "index.faiss").stat().st_mtime_ns == before


@pytest.mark.parametrize("damage", ["deleted", "truncated", "flipped", "emptied", "facts deleted", "facts damaged"])
def test_a_damaged_index_file_is_noticed_and_rebuilt(folder, model, new_image, damage):
    index, facts = folder / "index.faiss", folder / "index.json"
    content = bytearray(index.read_bytes())
    if damage == "deleted":
        index.unlink()
    elif damage == "truncated":
        index.write_bytes(content[:-1000])
    elif damage == "flipped":
        content[len(content) // 2] ^= 1
        index.write_bytes(content)
    elif damage == "emptied":
        index.write_bytes(b"")
    elif damage == "facts deleted":
        facts.unlink()
    else:
        facts.write_text("[]")
    with Galleries(folder.parents[1], model) as galleries:
        assert galleries.open("default").version._saved_generation == -1
    assert finds_all(folder, model, new_image)


def test_an_index_file_of_another_generation_is_rebuilt(folder, model, new_image):
    with Galleries(folder.parents[1], model) as galleries:
        galleries.open("default").delete("3.jpg")
        saved = {name: (folder / name).read_bytes() for name in ("index.faiss", "index.json")}
    with Galleries(folder.parents[1], model) as galleries:
        galleries.open("default").add([new_image(3)])
    for name, content in saved.items():
        (folder / name).write_bytes(content)
    assert finds_all(folder, model, new_image)


def test_a_newer_format_is_refused(folder, model):
    with sqlite3.connect(folder / "gallery.sqlite") as connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()
    with Galleries(folder.parents[1], model) as galleries, pytest.raises(NewerFormat, match="upgrade"):
        galleries.open("default")


@pytest.mark.parametrize("content", [b"", b"not a database" * 1000])
def test_a_broken_database_is_refused_and_the_others_are_served(folder, model, content):
    for path in folder.glob("gallery.sqlite*"):
        path.unlink()
    (folder / "gallery.sqlite").write_bytes(content)
    with Galleries(folder.parents[1], model) as galleries:
        with pytest.raises(BrokenGallery):
            galleries.open("default")
        assert [facts.name for facts in galleries.list_galleries()] == ["default"]
        galleries.create("other")


@pytest.mark.parametrize("damage", ["DROP TABLE images", "DELETE FROM facts WHERE key = 'model'"])
def test_a_database_that_lacks_something_is_refused_and_the_others_are_listed(folder, model, damage):
    with sqlite3.connect(folder / "gallery.sqlite") as connection:
        connection.execute(damage)
    connection.close()
    with Galleries(folder.parents[1], model) as galleries:
        with pytest.raises(BrokenGallery):
            galleries.open("default")
        assert [facts.model for facts in galleries.list_galleries()] == [""]


def test_a_missing_image_file_says_so(folder, model):
    shutil.rmtree(folder / "contents")
    (folder / "contents").mkdir()
    with Galleries(folder.parents[1], model) as galleries, pytest.raises(BrokenGallery, match=r"1\.jpg"):
        galleries.open("default").content("1.jpg")


def test_a_data_directory_serves_one_server(tmp_path, model):
    with Galleries(tmp_path, model), pytest.raises(StorageInUse, match="--data"):
        Galleries(tmp_path, model)
    with Galleries(tmp_path, model):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user for a moment")
def test_a_read_only_data_directory_says_so(model):
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    os.seteuid(65534)
    try:
        with pytest.raises(ReadOnlyStorage, match="--data"):
            Galleries(folder, model)
    finally:
        os.seteuid(0)
        shutil.rmtree(folder)


def test_a_full_database_keeps_nothing_of_the_batch_and_goes_on(gallery, new_image):
    gallery.add([new_image(seed) for seed in range(3)])
    gallery._store._writer.execute("PRAGMA max_page_count = 1")  # SQLite takes the pages in use as the least
    with pytest.raises(StorageFull, match="free some space"):
        gallery.add([new_image(seed) for seed in range(3, 60)])
    assert [image.name for image in gallery.list_images()] == ["0.jpg", "1.jpg", "2.jpg"]
    contents = gallery._store.folder / "contents"
    assert len(list(contents.glob("*/*"))) == 3
    gallery._store._writer.execute("PRAGMA max_page_count = 1000000")
    gallery.add([new_image(seed) for seed in range(3, 60)])
    assert gallery.version.search(new_image(59).features.embedding[None], 1)[0][0].image.name == "59.jpg"


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="needs to mount a small file system")
def test_a_full_disk_keeps_nothing_of_the_batch_and_goes_on(tmp_path, model, new_image):
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", small], capture_output=True).returncode:
        pytest.skip("this machine does not let us mount a file system")
    try:
        with Galleries(small, model) as galleries:
            gallery = galleries.create("default")
            gallery.add([new_image(1)])
            (small / "ballast").write_bytes(bytes(2**20))
            with pytest.raises(StorageFull):
                gallery.add([new_image(seed) for seed in range(2, 200)])
            (small / "ballast").unlink()
            gallery.add([new_image(2)])
            assert [image.name for image in gallery.list_images()] == ["1.jpg", "2.jpg"]
    finally:
        subprocess.run(["umount", small], check=True)


def test_leftovers_of_a_crash_in_create_and_delete_are_removed(tmp_path, model):
    with Galleries(tmp_path, model) as galleries:
        galleries.create("kept")
    for name in (".new-half", ".removed-0123"):
        (tmp_path / "galleries" / name).mkdir()
    with Galleries(tmp_path, model) as galleries:
        assert [facts.name for facts in galleries.list_galleries()] == ["kept"]
    assert [path.name for path in (tmp_path / "galleries").iterdir()] == ["kept"]


def test_the_facts_of_an_index_file_vouch_for_its_checksum(folder):
    facts = json.loads((folder / "index.json").read_text())
    assert set(facts) == {"dimensions", "factory", "kind", "generation", "sha256"}
