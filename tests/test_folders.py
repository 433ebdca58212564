"""What is found in folders, by the client and by the model rooms alike: each folder once, and nothing in silence."""

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from whymatch.client import UnusablePaths, adding
from whymatch.embed import BadFolder, ImageTooLarge, LeftOut, folders

POSIX = pytest.mark.skipif(os.name == "nt", reason="links and names of POSIX")


def by_the_client(root: Path, *paths: Path, **options) -> list[str]:
    given = paths or (root,)
    return sorted(str(found.path.relative_to(root)) for found in adding.find_images(given, **options))


def by_the_rooms(root: Path, *paths: Path, **options) -> list[str]:
    return [str(found.path.relative_to(root)) for found in folders.find_images(paths or (root,), **options)]


both = pytest.mark.parametrize("find", [by_the_client, by_the_rooms])
Find = Callable[..., list[str]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two images in two folders, beside a folder with a third."""
    for name in ("photos/cats/1.png", "photos/dogs/1.png", "elsewhere/3.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"an image, by its name")
    return tmp_path / "photos"


TWO = ["cats/1.png", "dogs/1.png"]


@POSIX
@both
@pytest.mark.parametrize("target", [".", "..", "../..", "/", "../dogs", "up"])
def test_a_link_that_leads_back_or_up_adds_nothing(root, find, target):
    (root / "cats/up").symlink_to(target)
    assert find(root) == TWO


@POSIX
@both
def test_two_links_to_a_folder_are_one(root, find):
    for name in ("a", "z"):
        (root / name).symlink_to(root.parent / "elsewhere")
    assert find(root) == ["a/3.png", *TWO]


@POSIX
@both
def test_links_in_a_circle_end(root, find):
    (root / "cats/other").symlink_to(root.parent / "elsewhere")
    (root.parent / "elsewhere/back").symlink_to(root / "cats")
    assert find(root) == ["cats/1.png", "cats/other/3.png", "dogs/1.png"]


@POSIX
@both
def test_a_folder_has_its_own_name_and_not_that_of_a_link(root, find):
    (root / "a").symlink_to("cats")
    assert find(root) == TWO


@POSIX
@both
def test_a_link_beside_what_contains_it_is_followed(root, find):
    (root.parent / "elsewhere/inner").mkdir()
    (root.parent / "elsewhere/inner/4.png").touch()
    (root / "a").symlink_to("../elsewhere/inner")
    (root / "b").symlink_to("../elsewhere")
    assert find(root) == ["a/4.png", "b/3.png", *TWO]


@both
def test_a_folder_that_is_mounted_twice_is_one(root, find, monkeypatch):
    """The same device and number at another path, which only a mount makes."""
    (root / "mount").mkdir()
    (root / "mount/1.png").touch()
    same = {root / "mount": root / "cats"}
    monkeypatch.setattr("whymatch.embed.pictures.folders._identity", lambda folder: same.get(folder, folder))
    assert len(find(root)) == 2


@both
@pytest.mark.parametrize("inner_first", [True, False])
def test_paths_that_contain_each_other_are_taken_once(root, find, inner_first):
    paths = (root / "cats", root) if inner_first else (root, root / "cats")
    assert find(root, *paths, root) == TWO


@pytest.mark.parametrize("inner_first", [True, False])
def test_the_outermost_path_names_an_image(root, inner_first):
    paths = [root / "cats/1.png", root / "cats", root]
    found = adding.find_images(paths if inner_first else paths[::-1])
    assert sorted(image.name for image in found) == ["cats~1.png", "dogs~1.png"]
    assert [image.name for image in adding.find_images([root / "cats/1.png"] * 2)] == ["1.png"]


@POSIX
@both
@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
def test_a_file_of_two_names_is_two_images(root, find, link):
    getattr(root / "cats/2.png", link)(root / "cats/1.png")
    assert find(root) == ["cats/1.png", "cats/2.png", "dogs/1.png"]


@both
def test_images_are_known_by_their_ending_in_any_case(root, find):
    endings = ["jfif", "jpe", "jpeg", "JPG", "Png", "webp", "gif", "BMP", "tif", "TIFF", "ppm", "pgm", "pbm", "pnm"]
    endings += ["avif", "HEIC", "heif", "mpo"]
    for ending in endings:
        (root / f"a.{ending}").touch()
    assert find(root) == sorted([*(f"a.{ending}" for ending in endings), *TWO])


@both
def test_what_is_no_image_is_counted_by_its_ending(root, find):
    for name in ("a.txt", "b.TXT", "README", "clip.mov", "Thumbs.db", ".DS_Store", "._1.png", "desktop.ini"):
        (root / "cats" / name).touch()
    left_out = LeftOut()
    assert find(root, left_out=left_out) == TWO
    assert left_out.skipped == {".txt": 2, "": 1, ".mov": 1}
    assert left_out.lines() == ["4 files left out: .txt 2, no ending 1, .mov 1"]


@both
def test_folders_of_file_servers_and_systems_are_left_out(root, find):
    for name in ("@eaDir", ".AppleDouble", "__MACOSX", ".thumbnails", "lost+found", ".git", "dogs/@eaDir"):
        (root / name).mkdir()
        (root / name / "1.png").touch()
    left_out = LeftOut()
    assert find(root, left_out=left_out) == TWO
    assert left_out.lines() == [
        "6 folders left out: @eaDir/ 2, .AppleDouble/ 1, .thumbnails/ 1, __MACOSX/ 1, lost+found/ 1"
    ]


@both
def test_such_a_folder_that_is_named_itself_is_taken(root, find):
    (root / "@eaDir").mkdir()
    (root / "@eaDir/1.png").touch()
    assert find(root, root / "@eaDir") == ["@eaDir/1.png"]


@POSIX
@both
def test_what_cannot_be_read_is_told_with_the_reason(root, find, monkeypatch):
    os.mkfifo(root / "pipe.png")
    (root / "gone.png").symlink_to("nowhere.png")
    (root / "self.png").symlink_to("self.png")
    (root / "private").mkdir()
    real = os.scandir

    def scandir(path):
        if Path(path).name == "private":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    left_out = LeftOut()
    assert find(root, left_out=left_out) == TWO
    told = {Path(path).name: reason for path, reason in left_out.unreadable.items()}
    assert told["pipe.png"] == "it is a pipe, a socket or a device, and no file"
    assert told["private"] == "Permission denied"
    broken = {"gone.png", "self.png"}  # `add` has nothing to add there, and so nothing that failed
    assert left_out.skipped == {"broken link": 2} if find is by_the_client else broken < set(told)


@POSIX
@both
def test_a_socket_is_no_image(tmp_path, root, find, monkeypatch):
    monkeypatch.chdir(root)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("s.png")
        assert find(root) == TWO


@both
def test_a_folder_may_have_the_name_of_an_image(root, find):
    (root / "album.png").mkdir()
    (root / "album.png/1.png").touch()
    assert find(root) == ["album.png/1.png", *TWO]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
@both
def test_names_may_be_any_bytes(root, find):
    name = os.fsdecode(b"caf\xe9.png")
    (root / "dogs" / name).touch()
    assert find(root) == [*TWO, f"dogs/{name}"]


def test_nothing_found_says_what_was_left_out(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UnusablePaths, match=r"no images in .* \(1 file left out: \.txt 1\)"):
        adding.find_images(tmp_path)
    with pytest.raises(BadFolder, match=r"\(1 file left out: \.txt 1\)"):
        folders.find_images([tmp_path])
    with pytest.raises(UnusablePaths, match="there is no file or folder"):
        adding.find_images([tmp_path / "gone"])


def test_a_file_is_read_up_to_a_limit(tmp_path):
    path = tmp_path / "a.tif"
    with path.open("wb") as file:
        file.truncate(2_300_000_000)
    with pytest.raises(ImageTooLarge, match="has 2300000000 bytes, and the limit is 1000"):
        folders.read_image_file(path, 1000)
    path.write_bytes(b"x" * 1000)
    assert len(folders.read_image_file(path, 1000)) == 1000
    with pytest.raises(OSError, match="and no file"):
        folders.read_image_file(tmp_path, 1000)
