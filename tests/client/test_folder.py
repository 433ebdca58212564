"""Pictures of an earlier command go, and nothing else does."""

from pathlib import Path

from PIL import Image

from whymatch.client.draw.folder import LIST, clear_pictures, note_pictures


def drawn(folder: Path, *names: str) -> None:
    """Write pictures as a command does."""
    clear_pictures(folder)
    for name in names:
        Image.new("RGB", (2, 1), "red").save(folder / name)
    note_pictures(folder, [folder / name for name in names])


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir() if file.name != LIST)


def test_pictures_of_the_last_command_alone_are_left(tmp_path):
    folder = tmp_path / "new" / "maps"
    drawn(folder, "01.png", "02.png", "sheet.png")
    drawn(folder, "01.png", "sheet.png")
    assert names(folder) == ["01.png", "sheet.png"]


def test_what_is_not_ours_stays(tmp_path):
    (tmp_path / "03.png").write_bytes(b"mine before")
    drawn(tmp_path, "01.png", "02.png", "04.png")
    (tmp_path / "02.png").write_bytes(b"mine since")
    (tmp_path / "copy.png").write_bytes((tmp_path / "01.png").read_bytes())
    (tmp_path / "04.png").rename(tmp_path / "kept.png")
    drawn(tmp_path, "sheet.png")
    assert names(tmp_path) == ["02.png", "03.png", "copy.png", "kept.png", "sheet.png"]


def test_several_parts_of_a_command_stay_together(tmp_path):
    drawn(tmp_path, "sheet.png")
    (tmp_path / "card.png").write_bytes(b"card")
    note_pictures(tmp_path, [tmp_path / "card.png"])
    assert names(tmp_path) == ["card.png", "sheet.png"]
    drawn(tmp_path, "sheet.png")
    assert names(tmp_path) == ["sheet.png"]


def test_a_list_of_somebody_else_removes_nothing_elsewhere(tmp_path):
    outside, folder = tmp_path / "outside.png", tmp_path / "maps"
    drawn(tmp_path, "outside.png")
    folder.mkdir()
    line = (tmp_path / LIST).read_text()
    (folder / LIST).write_bytes(line.replace("outside.png", "../outside.png").encode() + b"\xff\n\n..  ..\nx\n")
    (folder / "link.png").symlink_to(outside)
    clear_pictures(folder)
    assert outside.exists()
    assert names(folder) == ["link.png"]
