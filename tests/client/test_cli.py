import io
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import PIL.Image
import pytest
from typer.testing import Result

from whymatch.client import adding
from whymatch.client.apps.add import Summary, add_images

HALF = 0.5**0.5
PLAIN_MATCH = ["name", "label", "score", "image_score", "metadata", "content_sha256"]
POSIX = pytest.mark.skipif(os.name == "nt", reason="names and pipes of POSIX")


def document(result: Result):
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60).stdout


def test_help_needs_no_heavy_package():
    code = """
import sys
from whymatch.client.cli.app import main
sys.argv = ["whymatch", "--help"]
try:
    main()
except SystemExit as end:
    assert end.code == 0
print(sorted({"torch", "faiss", "numpy", "grpc", "PIL", "google.protobuf"} & set(sys.modules)))
"""
    lines = python(code).splitlines()
    assert lines[-1] == "[]"
    commands = ["serve", "add", "search", "rerank", "explain", "list", "show", "delete", "embed", "demo", "gallery"]
    commands += ["train", "evaluate", "compare"]
    assert all(any(f" {command} " in line for line in lines) for command in commands)


def test_the_version_needs_no_heavy_package():
    code = """
import sys
from whymatch.client.cli.app import main
sys.argv = ["whymatch", "--version"]
try:
    main()
except SystemExit as end:
    assert end.code == 0
print(sorted({"torch", "faiss", "numpy", "grpc", "PIL", "google.protobuf"} & set(sys.modules)))
"""
    assert python(code).splitlines() == [f"whymatch {version('whymatch')}", "[]"]


def test_the_client_needs_neither_torch_nor_faiss():
    code = """
import sys
import whymatch.client
from whymatch.client import *
from whymatch.client.apps import add, documents
from whymatch.client.apps.demo import run
from whymatch.client.draw import matches
heavy = {"torch", "faiss", "skimage", "sklearn", "matplotlib", "whymatch.embed.model", "whymatch.index"}
print(sorted(heavy & set(sys.modules)))
"""
    assert python(code).strip() == "[]"


def test_every_public_name_is_there():
    import whymatch.client

    assert all(getattr(whymatch.client, name) is not None for name in whymatch.client.__all__)
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = whymatch.client.nothing_like_it


def test_add_makes_the_gallery_and_says_what_became_of_the_images(run, save, world):
    folder = save("photos/cats/a.png").parent.parent
    save("photos/cats/b.png", "lime")
    save("photos/dogs/a.png", "blue")
    (folder / "notes.txt").write_text("not an image, and not tried")
    result = run("add", folder, "--labels-from-folders", "--gallery", "pets")
    assert result.exit_code == 0
    assert "created the gallery 'pets'" in result.stderr
    assert "1 file left out: .txt 1\n" in result.stderr
    assert result.stdout == "gallery pets: 3 added (0 of them duplicates of other images), 0 unchanged, 0 failed\n"
    images = [image for image, _ in world.galleries["pets"].values()]
    assert [(image.name.split("/")[-1], image.label) for image in images] == [
        ("cats~a.png", "cats"),
        ("cats~b.png", "cats"),
        ("dogs~a.png", "dogs"),
    ]


def test_add_reports_each_failure_and_goes_on(run, save, tmp_path):
    bad = tmp_path / "bad.txt"
    bad.write_text("a file that is named is tried")
    summary = run("add", bad, save("good.png"), save("copy.png"), "--json")
    assert summary.exit_code == 1
    assert "bad.txt: these bytes are not an image" in summary.stderr
    document = json.loads(summary.stdout)
    assert {key: document[key] for key in ("added", "unchanged", "duplicates", "failed")} == {
        "added": 2,
        "unchanged": 0,
        "duplicates": 1,
        "failed": 1,
    }
    assert document["failures"] == [
        {"path": str(bad), "name": "bad.txt", "reason": "NOT_AN_IMAGE", "message": "these bytes are not an image"}
    ]


def test_a_file_that_is_too_large_to_send_fails_alone(world, request, save, tmp_path):
    """gRPC itself refuses it, which ends the stream; the command goes on with the others."""
    world.max_message_bytes = 10_000
    for name in ("large.png", "larger.png"):
        save(f"photos/{name}").write_bytes(bytes(20_000 + len(name)))
    for name in ("a.png", "n.png", "z.png"):
        save(f"photos/{name}")
    result = request.getfixturevalue("run")("add", tmp_path / "photos", "--json")
    summary = json.loads(result.stdout)
    assert result.exit_code == 1
    assert len(world.galleries["default"]) == 3
    assert sorted(failure["name"] for failure in summary["failures"]) == ["large.png", "larger.png"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_file_whose_name_is_not_utf_8_fails_alone(run, save, world):
    good = save("photos/b.png")
    bad = good.rename(good.with_name(os.fsdecode(b"\xff.png")))
    save("photos/b.png")
    result = run("add", good.parent, "--json")
    assert result.exit_code == 1
    assert "not UTF-8" in result.stderr
    assert [failure["path"] for failure in json.loads(result.stdout)["failures"]] == [str(bad)]
    assert list(world.galleries["default"]) == ["galleries/default/images/b.png"]


def test_a_broken_link_in_a_folder_is_no_file(run, save, world):
    good = save("photos/b.png")
    good.with_name("a.png").symlink_to("gone.png")
    assert run("add", good.parent).exit_code == 0
    assert list(world.galleries["default"]) == ["galleries/default/images/b.png"]


def test_adding_twice_changes_nothing(run, save):
    path = save("a.png")
    run("add", path, "--label", "red")
    assert document(run("add", path, "--label", "red", "--json"))["unchanged"] == 1


def test_two_files_of_one_name_are_refused_before_anything_is_sent(run, save, world):
    result = run("add", save("x/a.png"), save("y/a.png"))
    assert result.exit_code == 2
    assert "a.png" in result.stderr
    assert world.galleries == {}


@pytest.mark.parametrize(
    "arguments",
    [
        ["add", "gone.png"],
        ["search", "gone.png"],
        ["search"],
        ["search", "--image", "a", "--embedding", "-"],
        ["search", "--image", "a", "--limit", "many"],
        ["embed"],
        ["explain", "match", "image:a", "gone.png"],
        ["list", "--ca-certificate", "gone.pem"],
        ["show"],
        ["search", "--image", "a", "--limit", "0"],
        ["search", "--image", "a", "--limit", "99999999999"],
        ["search", "--image", "a", "--with-maps"],
        ["embed", "--image", "a", "--feature-map"],
        ["list", "--timeout", "0"],
        ["list", "--timeout", "nan"],
        ["list", "--timeout", "inf"],
        ["search", "--image", "a", "--no-such-option"],
        ["no-such-command"],
    ],
)
def test_misuse_exits_with_2(run, arguments):
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""


def test_an_empty_folder_is_misuse(run, tmp_path):
    result = run("add", tmp_path)
    assert result.exit_code == 2
    assert "no images in" in result.stderr


def test_what_is_not_there_exits_with_3_and_leaves_stdout_empty(run, colors):
    result = run("show", "nothing", "--json")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith("whymatch: no image")


def test_an_absent_server_exits_with_4(run):
    result = run("list", "--address", "127.0.0.1:1")
    assert result.exit_code == 4
    assert "start one with `whymatch serve`" in result.stderr


def test_search_prints_an_aligned_table(run, colors, save):
    result = run("search", save("query.png"), "--limit", "2")
    assert result.stdout == "rank   score  label  name\n   1  1.0000  red    red.png\n   2  0.7071  half   half.png\n"


def test_search_json_has_the_promised_names(run, colors, save):
    path = save("query.png")
    found = document(run("search", path, "--json", "--limit", "2", "--with-maps"))
    assert (found["query"], found["model"]) == (str(path), "fake")
    match = found["matches"][1]
    assert list(match) == [*PLAIN_MATCH, "query_map", "match_map"]
    assert (match["name"], match["label"], match["score"]) == ("half.png", "half", pytest.approx(HALF))
    assert match["match_map"] == {
        "rows": 1,
        "columns": 2,
        "values": [[pytest.approx(HALF), 0.0]],
        "total": pytest.approx(HALF),
        "best_box": {"left_px": 0, "top_px": 0, "right_px": 2, "bottom_px": 2},
    }


def test_search_json_has_no_maps_unless_asked(run, colors):
    found = document(run("search", "--image", "red.png", "--json"))
    assert list(found["matches"][0]) == PLAIN_MATCH


def test_search_narrows_by_label(run, colors):
    found = document(run("search", "--image", "red.png", "--label", "half", "--label", "green", "--json"))
    assert [match["name"] for match in found["matches"]] == ["half.png", "green.png"]


def test_search_reads_stdin(run, colors, picture):
    found = document(run("search", "-", "--json", "--limit", "1", stdin=picture("lime")))
    assert (found["query"], found["matches"][0]["name"]) == ("-", "green.png")


def test_search_writes_pictures_and_a_sheet(run, colors, tmp_path):
    folder = tmp_path / "maps"
    found = document(run("search", "--image", "red.png", "--maps", folder, "--json"))
    assert found["matches"][2]["match_map"]["overlay"] == str(folder / "03-match.png")
    assert sorted(path.name for path in folder.glob("*.png")) == [
        *(f"{rank:02}-{side}.png" for rank in (1, 2, 3) for side in ("match", "query")),
        "sheet.png",
    ]
    assert PIL.Image.open(io.BytesIO((folder / "03-match.png").read_bytes())).size == (8, 4)
    sheet = PIL.Image.open(io.BytesIO((folder / "sheet.png").read_bytes()))
    assert sheet.width > 3 * 260


def test_embed_prints_what_search_takes(run, colors, tmp_path):
    embedded = run("embed", "--image", "half.png", "--json")
    assert document(embedded)["embedding"] == pytest.approx([HALF, HALF, 0])
    found = document(run("search", "--embedding", "-", "--json", "--maps", tmp_path / "m", stdin=embedded.stdout_bytes))
    assert found["matches"][0]["name"] == "half.png"
    assert "query_map" not in found["matches"][0]
    assert found["matches"][0]["match_map"]["rows"] == 1


@pytest.mark.parametrize("text", ["{}", "not json", "[[1, 2]]", '["a"]'])
def test_a_file_without_an_embedding_is_misuse(run, colors, tmp_path, text):
    path = tmp_path / "vector.json"
    path.write_text(text)
    result = run("search", "--embedding", path)
    assert result.exit_code == 2
    assert "holds no embedding" in result.stderr


def test_embed_json_nests_the_feature_map(run, colors, save):
    found = document(run("embed", save("query.png", "red", "lime"), "--feature-map", "--json"))
    assert found["model"] == "fake"
    assert found["feature_map"] == {"rows": 1, "columns": 2, "channels": 3, "values": [[[1, 0, 0], [0, 1, 0]]]}


def test_explain_match_takes_files_and_stored_images(run, colors, save, tmp_path):
    arguments = ["explain", "match", save("query.png"), "image:half.png", "--maps", tmp_path / "maps"]
    found = document(run(*arguments, "--json"))
    assert found["score"] == pytest.approx(HALF)
    assert found["residual"] == 1e-7
    assert found["match_map"]["values"] == [[pytest.approx(HALF), 0]]
    assert found["query_map"]["overlay"] == str(tmp_path / "maps" / "query.png")
    text = run(*arguments).stdout
    assert "score 0.7071" in text
    assert "match map to 0.7071" in text


def test_list_show_and_delete(run, colors, tmp_path, picture):
    assert run("list").stdout.splitlines()[0].split("\t")[:3] == ["green.png", "green", "4 x 2"]
    assert [image["name"] for image in document(run("list", "--json"))["images"]] == [
        "green.png",
        "half.png",
        "red.png",
    ]
    saved = tmp_path / "saved.png"
    assert document(run("show", "red.png", "--json", "--output", saved))["width_px"] == 4
    assert saved.read_bytes() == picture("red")
    assert run("delete", "red.png", "half.png", "--yes").exit_code == 0
    assert [image["name"] for image in document(run("list", "--json"))["images"]] == ["green.png"]


def test_galleries_are_made_listed_shown_and_deleted(run):
    assert document(run("gallery", "create", "birds", "--index", "Flat", "--json"))["index_factory"] == "Flat"
    assert run("gallery", "list").stdout == "birds\t0 images\tmodel fake\thead none\n"
    assert [gallery["name"] for gallery in document(run("gallery", "list", "--json"))["galleries"]] == ["birds"]
    assert document(run("gallery", "show", "birds", "--json"))["image_count"] == 0
    assert run("gallery", "delete", "birds", "--yes").exit_code == 0
    assert run("gallery", "show", "birds").exit_code == 3


def test_serve_without_its_packages_says_how_to_install_them(monkeypatch, run):
    monkeypatch.setattr("whymatch.client.cli.rooms.SERVER_PACKAGES", ("no_such_package",))
    result = run("serve", "--port", "0")
    assert result.exit_code == 1
    assert 'pip install ".[server]"' in result.stderr


def test_serve_shows_the_servers_own_help():
    pytest.importorskip("torch")
    command = [sys.executable, "-m", "whymatch.client", "serve", "--help"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    assert "whymatch serve" in shown
    assert "--pooling" in shown


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_an_interrupted_add_keeps_what_was_answered(world, address, save, tmp_path):
    """A process of its own is interrupted while the server is in the middle of the folder."""
    import signal
    import time

    for number in range(50):
        save(f"photos/{number:02}.png")
    world.answer_delay_s = 0.1
    command = [sys.executable, "-m", "whymatch.client", "add", str(tmp_path / "photos"), "--address", address]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while len(world.galleries.get("default", ())) < 10:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=20)
    assert process.returncode not in (0, 2)
    assert "stopped early" in stderr
    assert 0 < int(stdout.split()[2]) < 50
    assert Path(tmp_path).exists()


@POSIX
def test_what_add_leaves_out_is_in_its_document_and_what_it_cannot_read_has_failed(run, save):
    folder = save("photos/a.png").parent
    (folder / "notes.txt").touch()
    (folder / "@eaDir").mkdir()
    os.mkfifo(folder / "pipe.png")
    result = run("add", folder, "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert (found["added"], found["failed"]) == (1, 1)
    assert found["skipped"] == {".txt": 1, "@eaDir/": 1}
    assert found["failures"][0]["path"] == str(folder / "pipe.png")
    assert "1 file left out: .txt 1; 1 folder left out: @eaDir/ 1" in result.stderr


@POSIX
def test_pipes_and_huge_files_that_are_named_fail_alone(run, save, tmp_path, world):
    os.mkfifo(tmp_path / "a.png")
    with (tmp_path / "m.tif").open("wb") as file:
        file.truncate(2_300_000_000)
    result = run("add", tmp_path / "a.png", tmp_path / "m.tif", save("z.png"), "--json")
    assert result.exit_code == 1
    messages = [failure["message"] for failure in json.loads(result.stdout)["failures"]]
    assert "it is a pipe" in messages[0]
    assert "2300000000 bytes" in messages[1]
    assert list(world.galleries["default"]) == ["galleries/default/images/z.png"]


def test_a_file_that_vanishes_fails_alone(client, save, world):
    images = adding.find_images([save("photos/a.png").parent, save("z.png")])
    images[0].path.unlink()
    summary = Summary("default")
    add_images(client, images, summary)
    assert (summary.added, [failure.name for failure in summary.failures]) == (1, ["a.png"])


@POSIX
@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1", "utf-8"])
def test_names_of_any_bytes_are_shown_on_any_terminal(address, client, save, encoding):
    save("photos/\N{GRINNING FACE}.png")
    Path(os.fsdecode(os.fsencode(save("photos/a.png").parent) + b"/caf\xe9.png")).write_bytes(b"")
    folder = str(save("photos/a.png").parent)
    for command in (["add", folder], ["add", folder, "--json"], ["list"], ["list", "--json"]):
        done = subprocess.run(
            [sys.executable, "-m", "whymatch.client", *command, "--address", address],
            capture_output=True,
            env={**os.environ, "PYTHONIOENCODING": encoding},
            timeout=60,
        )
        assert b"Traceback" not in done.stderr, done.stderr
        assert done.returncode == (command[0] == "add")  # the name that is not UTF-8 cannot be sent
        if "--json" in command:
            json.loads(done.stdout.decode(encoding))
