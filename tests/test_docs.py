"""The pages of docs are complete, their links lead somewhere, and their examples run."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from doc_blocks import DOCS, README, ROOT, blocks_of, make_photos, run_blocks, runs

import whymatch.client
from whymatch.client import Client, NewImage, errors
from whymatch.client.apps.local_server import local_server
from whymatch.client.cli.app import app as whymatch_command
from whymatch.embed.training.command import app as train
from whymatch.explain.interactive_study.command import app as study
from whymatch.index.evaluation.command import app as evaluate
from whymatch.server.command import app as serve
from whymatch.server.config import ServerConfig
from whymatch.server.metrics import Metrics

PROSE = [README, *DOCS, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
SERVER, PYTHON, ARCHITECTURE, INDEX = (
    (ROOT / "docs" / f"{name}.md").read_text() for name in ("server", "python", "architecture", "index")
)
ROOMS = ("proto", "embed", "index", "explain", "server", "client", "tests", "benchmarks", "docs")
FILE = re.compile(rf"(?<![\w/.-])(?:{'|'.join(map(re.escape, (*ROOMS, '.ci')))})/[\w./-]*[\w/]")
LONGEST = 120
OTHER_OPTIONS = {"--help", "--strict", "--constraint", "--editable", "--config-settings"}
"""Of every command, of mypy and of pip."""
ERROR = re.compile(r"^([│ ]*)[├└]── (\w+)", re.MULTILINE)
"""A row of the tree of errors: how deep, and its name."""
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of one server for all pages."""
    with local_server(tmp_path_factory.mktemp("data")) as address:
        yield address


@pytest.fixture
def folder(server: str, tmp_path: Path) -> Path:
    """A folder of photographs, which the gallery of the server holds, and nothing else."""
    make_photos(tmp_path)
    with Client(server) as client:
        for gallery in list(client.galleries()):
            client.delete_gallery(gallery.name)
        client.create_gallery(client.gallery)
        photos = sorted(tmp_path.glob("photos/*/*.png"))
        new = (NewImage(path, f"{path.parent.name}~{path.name}", path.parent.name) for path in photos)
        assert not [added.error for added in client.add(new) if added.error]
    return tmp_path


@pytest.mark.timeout(600)  # a minute, but on a busy machine; commands are processes of their own
@pytest.mark.parametrize("page", [page for page in DOCS if runs(page)], ids=lambda page: page.name)
def test_the_examples_of_a_page_run_one_after_the_other(page, folder, server):
    run_blocks(page, folder, server)


def test_every_flag_of_serve_is_described_with_its_default():
    rows = dict(re.findall(r"^\| `(--[\w-]+)[^`]*` \| (.*?) \|", SERVER, re.MULTILINE))
    command = typer.main.get_command(serve)
    flags = {parameter.name: parameter.opts[0] for parameter in command.params if parameter.name != "help"}
    assert set(rows) == set(flags.values())
    for name, flag in flags.items():
        default = getattr(ServerConfig, name)
        if default is not None:
            assert rows[flag].strip("`") == str(default), flag


def test_every_option_that_a_page_names_exists():
    known = OTHER_OPTIONS.union(
        *(options(typer.main.get_command(app)) for app in (whymatch_command, serve, train, evaluate, study))
    )
    named = {(page.name, option) for page in PROSE for option in re.findall(r"--[a-z][\w-]*", page.read_text())}
    assert not {(page, option) for page, option in named if option not in known}


def options(command: Any) -> set[str]:
    """Return all options of a command and of those below it."""
    own = {option for parameter in command.params for option in [*parameter.opts, *parameter.secondary_opts]}
    return own.union(*(options(one) for one in getattr(command, "commands", {}).values()))


def test_every_metric_is_described():
    metrics = Metrics().registry.collect()
    names = {f"{metric.name}_total" if metric.type == "counter" else metric.name for metric in metrics}
    assert names == set(re.findall(r"^\| `(whymatch_\w+)` \|", SERVER, re.MULTILINE))


def test_every_call_of_the_api_is_described():
    protos = (path.read_text() for path in (ROOT / "proto/whymatch/v1").glob("*.proto"))
    calls = {name for proto in protos for name in re.findall(r"^  rpc (\w+)\(", proto, re.MULTILINE)}
    assert calls == set(re.findall(r"^\| `([A-Z]\w+)` \| \w", SERVER, re.MULTILINE))


def test_every_public_name_of_the_client_is_on_its_page():
    in_backticks = set(re.findall(r"`(\w+)`", PYTHON))
    drawn = {name for _, name in ERROR.findall(PYTHON)}
    assert set(whymatch.client.__all__) <= in_backticks | imported_names(ROOT / "docs" / "python.md") | drawn


def imported_names(page: Path) -> set[str]:
    """Return what the examples of a page import from modules."""
    program = "\n".join(line for block in blocks_of(page) if block.language == "python" for line in block.lines)
    imports = (node for node in ast.walk(ast.parse(program)) if isinstance(node, ast.ImportFrom))
    return {alias.name for node in imports for alias in node.names}


def test_the_tree_of_errors_is_drawn_as_it_is():
    below = {name: "WhymatchError" if not indent else "ResourceExhausted" for indent, name in ERROR.findall(PYTHON)}
    classes = [*errors.WhymatchError.__subclasses__(), errors.MessageTooLarge]
    assert below == {one.__name__: one.__base__.__name__ for one in classes}


def test_the_index_leads_to_every_page():
    assert {page.name for page in DOCS} - {"index.md"} <= set(LINK.findall(INDEX))


@pytest.mark.parametrize("page", PROSE, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in LINK.findall(page.read_text()):
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, heading = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name} leads to {target}"
        if heading:
            assert heading in headings(file), f"{page.name} leads to {target}"


def headings(page: Path) -> set[str]:
    """Return the anchors of a page as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", [README, *DOCS, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_every_file_that_a_page_names_is_there(page):
    assert not [name for name in FILE.findall(page.read_text()) if not (ROOT / name).exists()]


def test_the_architecture_names_where_things_are():
    assert len(FILE.findall(ARCHITECTURE)) > 60


def test_no_line_is_longer_than_a_screen():
    files = [*PROSE, *(ROOT / name for name in ("Makefile", "embed/weights/README.md", "embed/weights/recipe.sh"))]
    for pattern in (".ci/*", "proto/whymatch/v1/*.proto", "client/apps/templates/*.*"):
        files += ROOT.glob(pattern)
    files += [path for room in ROOMS for path in (ROOT / room).rglob("*.py") if "_pb2" not in path.name]
    long = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in files
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if len(line) > LONGEST
    ]
    assert not long
