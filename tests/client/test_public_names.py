"""The public names of the client, and that the sync client is the async one without `await`."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import whymatch.client
from whymatch.client import AsyncClient, AsyncUnits, Client, Units
from whymatch.client.transport import Transport
from whymatch.client.transport_aio import AsyncTransport

ROOT = Path(__file__).parents[2]
TWINS = [(Client, AsyncClient), (Units, AsyncUnits), (Transport, AsyncTransport)]
PAIRS = [
    pytest.param(sync, asynchronous, name, id=f"{sync.__name__}.{name}")
    for sync, asynchronous in TWINS
    for name in ["__init__", *(name for name, value in vars(sync).items() if name[0] != "_" and callable(value))]
]
TIMES = {"timeout_s"}
"""What the client decides alone."""


def test_the_public_names_are_sorted_and_all_are_there():
    names = whymatch.client.__all__
    assert list(names) == sorted(names)
    assert all(getattr(whymatch.client, name) for name in names)


def test_every_class_that_is_returned_or_taken_is_public():
    for module in ("errors", "inputs", "results", "targets", "unit_results"):
        inside = vars(__import__(f"whymatch.client.{module}", fromlist=["_"]))
        own = {name for name, kind in inside.items() if inspect.isclass(kind) and kind.__module__.endswith(module)}
        assert {name for name in own if not name.startswith("_")} <= set(whymatch.client.__all__)


@pytest.mark.parametrize(("sync", "asynchronous"), TWINS)
def test_both_have_the_same_methods(sync, asynchronous):
    assert [name for name in vars(sync) if not name.startswith("_")] == [
        name for name in vars(asynchronous) if not name.startswith("_")
    ]


@pytest.mark.parametrize(("sync", "asynchronous", "name"), PAIRS)
def test_both_take_the_same_words(sync, asynchronous, name):
    ours, theirs = (inspect.signature(getattr(kind, name)).parameters.values() for kind in (sync, asynchronous))
    assert [(p.name, p.kind, p.default) for p in ours] == [(p.name, p.kind, p.default) for p in theirs]


@pytest.mark.parametrize(("sync", "asynchronous", "name"), [pair for pair in PAIRS if "Transport" not in pair.id])
def test_both_say_the_same_of_themselves(sync, asynchronous, name):
    assert inspect.getdoc(sync) == inspect.getdoc(asynchronous)
    assert inspect.getdoc(getattr(sync, name)) == inspect.getdoc(getattr(asynchronous, name))


def test_numbers_that_are_left_out_are_left_to_the_server():
    for kind in (Client, Units):
        for name, method in vars(kind).items():
            if name.startswith("__init__") or not callable(method):
                continue
            defaults = {p.name: p.default for p in inspect.signature(method).parameters.values()}
            numbers = {n: d for n, d in defaults.items() if isinstance(d, int | float) and not isinstance(d, bool)}
            assert numbers.keys() <= TIMES | {"match_limit", "class_limit"}, name


def test_a_docstring_names_every_number_that_may_be_left_out():
    inherited = {"limit", "box_share", "deadline_s"}  # the docstring refers to another method
    for kind in (Client, Units):
        for name, method in vars(kind).items():
            parameters = inspect.signature(method).parameters.values() if callable(method) else ()
            numbers = {p.name for p in parameters if p.annotation in ("int | None", "float | None")}
            assert {one for one in numbers - inherited if f"{one}" not in (inspect.getdoc(method) or "")} == set(), name


@pytest.mark.parametrize("name", ["client.py", "units.py"])
def test_what_is_generated_says_so(name):
    assert "do not edit" in (ROOT / "client" / name).read_text().splitlines()[0]


def test_the_generated_code_is_fresh(tmp_path):
    subprocess.run([sys.executable, ROOT / ".ci/translate_client.py", tmp_path], check=True)
    for path in tmp_path.iterdir():
        assert path.read_text() == (ROOT / "client" / path.name).read_text()


def test_client_and_commands_import_no_templates_and_no_progress_bars():
    code = "import sys, whymatch.client, whymatch.client.cli.app; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not {"jinja2", "markupsafe", "rich.progress", "PIL"} & set(done.stdout.split())
