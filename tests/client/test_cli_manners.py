import os
import re
import subprocess
import sys

import pytest
import typer

from whymatch.client import NewImage, errors
from whymatch.client.apps.talk import QUIET
from whymatch.client.cli.app import app
from whymatch.client.cli.failures import OPTIONS, exit_code, sentence


def unwrapped(text: str) -> str:
    return " ".join(re.sub("[│╭╮╰╯─]", "", text).split())


def commands(command, path=()):
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*path, name))


TREE = dict(commands(typer.main.get_command(app)))


def test_the_words_of_the_api_become_options_that_exist():
    known = {option for command in TREE.values() for parameter in command.params for option in parameter.opts}
    named = {option for words in OPTIONS.values() for option in re.findall(r"--[\w-]+", words)}
    assert named <= known
    error = errors.ResourceExhausted("at most 100 matches can have pictures; leave out `overlays`, see `whymatch list`")
    assert sentence(error, []).endswith("leave out --maps, see `whymatch list`")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.NotFound, 3),
        (errors.Unavailable, 4),
        (errors.ResourceExhausted, 4),
        (errors.DeadlineExceeded, 4),
        (errors.MessageTooLarge, 5),
        (errors.PermissionDenied, 5),
        (errors.InvalidArgument, 5),
        (errors.Internal, 1),
    ],
)
def test_exit_codes_tell_what_to_do(error, code):
    assert exit_code(error("why")) == code


def test_a_slow_server_is_told_with_the_option(world, run, colors):
    world.answer_delay_s = 2
    result = run("gallery", "head", "default", "centering", "--timeout", "0.2")
    assert result.exit_code == 4
    assert result.stderr.endswith("try again, or with a longer --timeout\n")


def test_what_is_no_image_is_named(run, colors, tmp_path):
    (tmp_path / "a.txt").write_text("abc")
    result = run("search", tmp_path / "a.txt")
    assert (result.exit_code, result.stderr) == (5, f"whymatch: {tmp_path}/a.txt: these bytes are not an image\n")


@pytest.mark.parametrize("command", [["search"], ["embed"], ["explain", "label"], ["units", "segment"]])
def test_a_folder_where_an_image_belongs_is_called_a_folder(run, tmp_path, command):
    more = {"label": ["cats"], "segment": ["last", "0"]}.get(command[-1], [])
    result = run(*command, tmp_path, *more)
    assert result.exit_code == 2
    assert "is a folder" in unwrapped(result.stderr)


@pytest.mark.parametrize("path", TREE, ids=" ".join)
def test_help_is_short_or_long_and_shows_flags_without_a_type(run, path):
    if path[:1] and path[0] in ("serve", "train", "evaluate", "study", "benchmark"):
        pytest.skip("its help comes from another room")
    shown = run(*path, "-h")
    assert shown.exit_code == 0
    assert shown.stdout == run(*path, "--help").stdout
    assert "<bool>" not in shown.stdout
    assert "2147483647" not in shown.stdout


def test_the_help_begins_with_what_most_people_want_and_ends_with_the_exit_codes(run):
    shown = run("--help").stdout
    places = [shown.index(f"│ {command} ") for command in ("add", "search", "explain", "serve", "train")]
    assert "4 busy" in unwrapped(shown[places[-1] :])
    assert places == sorted(places)


def test_numbers_that_the_api_cannot_carry_are_misuse(run, colors):
    for arguments in (["search", "--image", "red.png", "--limit"], ["explain", "components", "--seed"]):
        assert run(*arguments, 2**63).exit_code == 2


def test_the_environment_names_the_gallery(run, colors, monkeypatch):
    monkeypatch.setenv("WHYMATCH_GALLERY", "birds")
    assert "'birds'" in run("list").stderr
    assert run("list", "--gallery", "default").stdout


def test_deleting_asks_and_without_a_terminal_wants_yes(run, colors):
    for command in (["delete", "red.png"], ["gallery", "delete", "default"]):
        refused = run(*command)
        assert refused.exit_code == 2
        assert "--yes" in refused.stderr
    assert len(list(colors.list())) == 3


def test_what_is_deleted_is_in_the_document(ask, colors):
    assert ask("delete", "red.png", "half.png", "--yes") == {"deleted": ["red.png", "half.png"]}
    assert ask("gallery", "delete", "default", "--yes") == {"deleted": ["default"]}


def test_quiet_leaves_errors(run, save, tmp_path):
    bad = tmp_path / "photos/bad.png"
    save("photos/a.png")
    bad.write_text("no image")
    (tmp_path / "photos/notes.txt").touch()
    result = run("add", tmp_path / "photos", "--quiet")
    assert (result.exit_code, result.stderr) == (1, f"{bad}: these bytes are not an image\n")
    run("list")
    assert not QUIET.get()


def test_adding_again_with_other_labels_is_one_line(run, colors, save):
    for name in ("red.png", "green.png"):
        save(f"photos/{name}", "red" if name == "red.png" else "lime")
    result = run("add", save("photos/red.png").parent, "--label", "half", "--json")
    lines = [line for line in result.stderr.splitlines() if "already" in line]
    [line] = lines
    assert "has 2 images of these names already: " in line
    assert "1 with the label 'green', now 'half'" in line
    assert "whymatch delete" in line


def test_metadata_of_all_images(run, save, ask):
    run("add", save("a.png"), "--metadata", "camera=X100", "--metadata", "note=a=b")
    assert ask("show", "a.png")["metadata"] == {"camera": "X100", "note": "a=b"}
    for wrong in (["camera"], ["=x"], ["a=1", "--metadata", "a=2"]):
        assert run("add", save("a.png"), "--metadata", *wrong).exit_code == 2


def test_labels_from_a_table(run, save, ask):
    save("photos/a.png")
    save("photos/b.png", "lime")
    table = save("photos/c.png", "blue").with_name("labels.csv")
    table.write_text('path,label,shelf\na.png,"milk, sour",3\nb.png,,4\ngone.png,x,\n', encoding="utf-8-sig")
    result = run("add", table.parent, "--labels", table, "--label", "other", "--json")
    assert "1 rows name no file that is added; line 4: gone.png" in result.stderr
    assert "1 files have no row" in result.stderr
    assert '"rows_without_file": 1, "files_without_row": 1' in result.stdout
    found = {image["name"]: (image["label"], image["metadata"]) for image in ask("list")["images"]}
    assert found == {
        "a.png": ("milk, sour", {"shelf": 3}),
        "b.png": ("other", {"shelf": 4}),
        "c.png": ("other", {}),
    }


def test_labels_from_json_lines_by_name(run, save, ask):
    table = save("photos/cats/a.png").parents[1] / "labels.jsonl"
    table.write_text('{"name": "cats~a.png", "label": "cats", "year": 2024, "edition": "2", "none": null}\n\n')
    assert run("add", table.parent, "--labels", table).exit_code == 0
    shown = ask("show", "cats~a.png")
    assert (shown["label"], shown["metadata"]) == ("cats", {"year": 2024, "edition": "2"})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "file,label\na.png,x\n", "line 1: the columns are file, label; name one"),
        ("a.csv", "path,label\na.png,x,y\n", "line 2: it has not 2 cells"),
        ("a.csv", "path,label\na.png\n", "line 2: it has not 2 cells"),
        ("a.csv", 'path,label\na.png,"x\n', "line 2: unexpected end of data"),
        ("a.csv", "path,label\na.png,x\n,y\n", "line 3: give `path` or `name`"),
        ("a.csv", "path,label\na.png,x\na.png,y\n", "lines 2 and 3 are both about"),
        ("a.jsonl", '{"path": "a.png"}\n{"path": \n', "line 2: Expecting value"),
        ("a.jsonl", '{"path": "a.png"}\n[]\n', "line 2: it is no JSON object"),
        ("a.jsonl", '{"path": "a.png", "tags": ["x"]}\n', "line 1: 'tags' holds a list"),
        ("a.xlsx", "", "is no table; its name must end in .csv"),
    ],
)
def test_a_table_that_cannot_be_read_names_the_line(run, save, world, name, text, message):
    table = save("photos/a.png").with_name(name)
    table.write_text(text)
    result = run("add", table.parent, "--labels", table)
    assert result.exit_code == 2
    assert message in unwrapped(result.stderr)
    assert world.galleries == {}


def test_a_stored_picture_comes_back_as_it_was(run, colors, tmp_path, picture):
    assert run("content", "red.png", "-o", tmp_path / "saved.png").exit_code == 0
    assert (tmp_path / "saved.png").read_bytes() == picture("red")
    assert run("content", "red.png", "-o", "-").stdout_bytes == picture("red")


def test_labels_are_counted_and_images_listed_by_them(run, ask, colors, picture):
    colors.add_image(picture("blue"), name="blue.png", label="red")
    assert ask("labels") == {
        "gallery": "default",
        "labels": [{"label": "red", "count": 2}, {"label": "green", "count": 1}, {"label": "half", "count": 1}],
    }
    assert run("labels").stdout.splitlines()[0] == "red\t2 images"
    assert [image["name"] for image in ask("list", "--label", "red")["images"]] == ["blue.png", "red.png"]
    assert [image["name"] for image in ask("list", "--limit", "1")["images"]] == ["blue.png"]


def test_an_empty_gallery_is_called_empty(run, client, save):
    result = run("search", save("query.png"))
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no matches: the gallery is empty" in result.stderr


def test_corresponding_cells_have_a_header(run, colors):
    lines = run("explain", "match", "image:red.png", "image:half.png").stdout.splitlines()
    assert lines[3].startswith("leading dimensions ")
    assert lines[4:6] == ["corresponding cells, each left,top,width,height in pixels:", "rank      score"]


def test_no_bar_stands_where_nothing_was_counted(run, colors):
    assert run("gallery", "head", "default", "none").stderr.count("\n") <= 1
    assert run("explain", "prediction-difference", "image:gone", "--target", "class:top1").stderr.startswith(
        "whymatch:"
    )


def test_a_name_that_is_not_utf_8_is_said_to_be_so(client):
    with pytest.raises(ValueError, match="not UTF-8; rename the file, or give it another name"):
        list(client.add([NewImage(b"", "\udcff.png")]))


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("explain match image:ha", ["image:half.png"]),
        ("search --image gr", ["green.png"]),
        ("search q.png --label ", ["green", "half", "red"]),
        ("list --gallery d", ["default"]),
        ("gallery show d", ["default"]),
        ("show --address 127.0.0.1:1 r", []),
    ],
)
def test_the_shell_completes_what_the_server_knows(address, colors, words, completed):
    code = "import sys; sys.argv[0] = 'whymatch'; from whymatch.client.cli.app import main; main()"
    environment = {"_WHYMATCH_COMPLETE": "complete_fish", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    environment |= {"_TYPER_COMPLETE_ARGS": f"whymatch {words}", "WHYMATCH_ADDRESS": address}
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    assert [line.split("\t")[0] for line in done.stdout.split("\n") if line] == completed
