"""Folders that commands write their pictures into, so that pictures of two answers never mix."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

LIST = ".whymatch-pictures"
"""The file in such a folder that names our pictures: a line for each, as `sha256sum` writes and checks them."""


def clear_pictures(folder: Path) -> None:
    """Make a folder ready for the pictures of a command: remove those that an earlier one noted here.

    Nothing else is removed: a file that is not noted, or that changed since, is somebody's own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for digest, name in _noted(folder):
        file = folder / name
        if file.is_file() and not file.is_symlink() and _digest(file) == digest:
            file.unlink()
    (folder / LIST).unlink(missing_ok=True)


def note_pictures(folder: Path, files: Iterable[Path]) -> None:
    """Note files that have just been written into a folder as ours."""
    with (folder / LIST).open("a", encoding="utf-8") as noted:
        noted.writelines(f"{_digest(file)}  {file.name}\n" for file in files)


def _noted(folder: Path) -> list[tuple[str, str]]:
    """Return digest and name of each file that is noted; never one of another folder, whoever wrote the list."""
    if not (folder / LIST).is_file():
        return []
    lines = (folder / LIST).read_text(encoding="utf-8", errors="replace").splitlines()
    pairs = [(digest, name) for digest, _, name in (line.partition("  ") for line in lines)]
    return [(digest, name) for digest, name in pairs if name and name == Path(name).name]


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
