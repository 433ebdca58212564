"""Many galleries under a small limit of open files."""

import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from whymatch.index import Galleries, UnknownGallery, raise_file_limit
from whymatch.index.open_files import OpenFiles, most_galleries

COUNT = 12


class Idle:
    """Counts how often it had to rest."""

    def __init__(self, busy: bool = False) -> None:
        self.busy, self.rests = busy, 0

    def rest(self) -> bool:
        self.rests += not self.busy
        return not self.busy


@pytest.fixture
def few(tmp_path, model):
    """A data directory where only two galleries hold files at a time."""
    with Galleries(tmp_path, model) as galleries:
        galleries._open_files = OpenFiles(most=2)
        yield galleries


def open_databases(folder: Path) -> int:
    """How many databases below a folder are open; other tests of this process may hold their own."""
    opened = [path.resolve() for path in Path("/proc/self/fd").iterdir()]
    return sum(path.name == "gallery.sqlite" and path.is_relative_to(folder) for path in opened)


def test_the_one_that_was_idle_for_longest_rests():
    a, b, c = Idle(), Idle(), Idle()
    files = OpenFiles(most=2)
    for one in (a, b, a, c):
        files.used(one)
    assert (a.rests, b.rests, c.rests) == (0, 1, 0)


def test_who_is_busy_rests_later():
    busy, other = Idle(busy=True), Idle()
    files = OpenFiles(most=1)
    files.used(busy)
    files.used(other)
    busy.busy = False
    files.used(other)
    assert (busy.rests, other.rests) == (1, 0)


def test_who_is_closed_is_not_asked():
    gone, other = Idle(), Idle()
    files = OpenFiles(most=1)
    files.used(gone)
    files.closed(gone)
    files.used(other)
    assert gone.rests == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts the open files in /proc")
def test_galleries_at_rest_hold_no_files_and_answer_all_the_same(few, new_image, tmp_path):
    for number in range(COUNT):
        few.create(f"g{number}").add([new_image(number)])
    assert open_databases(tmp_path) <= 4
    for number in range(COUNT):
        gallery = few.open(f"g{number}")
        [match] = gallery.version.search(new_image(number).features.embedding[None], 1)[0]
        assert match.image.name == f"{number}.jpg"
        gallery.add([new_image(100 + number)])
        assert gallery.content(f"{100 + number}.jpg") == f"bytes {100 + number}".encode()
    assert open_databases(tmp_path) <= 4


def test_a_gallery_that_is_deleted_at_rest_stays_deleted(few, new_image):
    held = few.create("held")
    for name in ("a", "b", "c"):
        few.create(name).add([new_image(1)])
    few.delete("held")
    with pytest.raises(UnknownGallery):
        held.get("x")
    assert not few._folder("held").exists()


def test_many_threads_share_few_files(few, new_image):
    for number in range(6):
        few.create(f"g{number}").add([new_image(seed, label=str(number)) for seed in range(3)])
    wrong: list[object] = []

    def work(turn: int) -> None:
        for step in range(60):
            number = (turn + step) % 6
            labels = {image.label for image in few.open(f"g{number}").list_images()}
            if labels != {str(number)}:
                wrong.append(labels)

    threads = [threading.Thread(target=work, args=(turn,)) for turn in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_all_is_saved_though_most_rest(tmp_path, model, new_image):
    with Galleries(tmp_path, model) as galleries:
        galleries._open_files = OpenFiles(most=1)
        for number in range(4):
            galleries.create(f"g{number}").add([new_image(number)])
    with Galleries(tmp_path, model) as galleries:
        assert all(galleries.open(f"g{number}").version._saved_generation >= 0 for number in range(4))


def test_the_limit_of_the_process_says_how_many():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    try:
        assert most_galleries() == 20
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_server_raises_its_limit_as_far_as_it_may():
    code = (
        "import resource\nfrom whymatch.index import raise_file_limit\n"
        "raise_file_limit(); print(*resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    shell = f"ulimit -Sn 100; ulimit -Hn 300; exec {sys.executable} -c '{code}'"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["300", "300"]
    raise_file_limit()  # here, too, it is never an error
