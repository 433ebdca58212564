"""Imports point one way: between the rooms, and between the storeys of the client."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "embed": {"embed"},
    "index": {"embed", "index"},
    "explain": {"embed", "index", "explain"},
    "server": {"embed", "index", "explain", "server", "v1"},
    "client": {"client", "v1"},
}
ROOMS = {*MAY_IMPORT, "proto"}
NOT_IN_THE_MODEL_ROOMS = {"grpc", "google", "grpc_status"}
NOT_IN_THE_CLIENT = {"torch", "torchvision", "faiss", "timm", "matplotlib"}

VALUES = {"adding", "errors", "inputs", "provenance", "results", "targets", "unit_results", "value", "version"}
CALLS = {
    "aio",
    "channel",
    "client",
    "following",
    "reminder",
    "retrying",
    "stall",
    "transport",
    "transport_aio",
    "units",
    "units_aio",
}
STOREYS = {
    "cli": VALUES | CALLS | {"draw", "apps", "cli"},
    "apps": VALUES | CALLS | {"draw", "apps"},
    "draw": VALUES | {"draw"},
    "calls": VALUES | CALLS | {"wire"},
    "wire": VALUES | {"wire"},
    "values": VALUES,
}
"""What each storey of the client may import, from the top down."""
KNOW_MESSAGES = ("wire/*.py", "*_servicer.py")
"""The files of the server that may."""


def imported(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return plain | {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_the_rooms_below_it(room):
    for path in (ROOT / room).rglob("*.py"):
        names = imported(path)
        shared = (room == "client" and {name for name in names if name.startswith("whymatch.embed.pictures")}) or set()
        rooms = {name.split(".")[1] for name in names - shared if name.startswith("whymatch.")}
        tops = {name.split(".")[0] for name in names}
        assert rooms <= MAY_IMPORT[room], path
        assert not tops & ROOMS, f"{path} imports a folder; import whymatch.ROOM"
        if room in ("embed", "index", "explain"):
            assert not tops & NOT_IN_THE_MODEL_ROOMS, path
        if room == "client":
            assert not tops & NOT_IN_THE_CLIENT, path


def storey(path: Path) -> str:
    first = path.relative_to(ROOT / "client").parts[0].removesuffix(".py")
    return first if first in STOREYS else "calls" if first in CALLS else "values" if first in VALUES else ""


CLIENT = [path for path in (ROOT / "client").rglob("*.py") if path.parent != ROOT / "client" or storey(path)]


def test_every_file_of_the_client_has_a_storey():
    apart = {path.name for path in (ROOT / "client").glob("*.py") if not storey(path)}
    assert apart == {"__init__.py", "__main__.py"}


@pytest.mark.parametrize("path", CLIENT, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_storey_of_the_client_imports_only_those_below_it(path):
    of_client = {tuple(name.split(".")[2:]) for name in imported(path) if name.startswith("whymatch.client")}
    public = {home for names in of_client if not names for home in homes_of_public_names(path)}
    assert {names[0] for names in of_client if names} | public <= STOREYS[storey(path)]


def homes_of_public_names(path: Path) -> set[str]:
    """The modules whose names a file imports from `whymatch.client` itself."""
    stub = ast.parse((ROOT / "client/__init__.pyi").read_text())
    homes = {
        alias.name: node.module for node in ast.walk(stub) if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    names = {alias.name for node in nodes if node.module == "whymatch.client" for alias in node.names}
    return {homes.get(name, name) for name in names}


def test_only_wire_knows_the_messages_of_the_client():
    for path in (ROOT / "client").rglob("*.py"):
        knows = {name for name in imported_names(path) if name.startswith("whymatch.v1") or "_pb2" in name}
        assert path.parent.name == "wire" or not knows, path


def imported_names(path: Path) -> set[str]:
    """Return all that a file imports, as `module.name`."""
    froms = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    return imported(path) | {f"{node.module}.{alias.name}" for node in froms for alias in node.names}


def test_only_wire_and_servicers_know_messages():
    """In the server."""
    server = ROOT / "server"
    knowing = {path for pattern in KNOW_MESSAGES for path in server.glob(pattern)}
    for path in {*server.rglob("*.py")} - knowing:
        parts = {part for name in imported_names(path) for part in name.split(".")}
        assert not any(part == "v1" or "_pb2" in part for part in parts), path


def test_imports_of_the_server_point_one_way():
    """What converts messages is imported by what answers calls, and by nothing below that; there is no circle."""
    files = {path.relative_to(ROOT).with_suffix("") for path in (ROOT / "server").rglob("*.py")}
    names = {".".join(("whymatch", *file.parts)): ROOT / f"{file}.py" for file in files}
    arrows = {name: imported_names(path) & names.keys() for name, path in names.items()}
    for name, below in arrows.items():
        if ".wire." in name:
            assert not any(one.endswith(("_servicer", ".interceptor")) for one in below), name
        elif not name.endswith(("_servicer", ".interceptor")):
            assert not any(".wire." in one for one in below), name
    while free := [name for name, below in arrows.items() if not below & arrows.keys()]:
        for name in free:
            del arrows[name]
    assert not arrows, "these import one another in a circle"


def test_what_the_client_shares_with_the_server_knows_pillow_and_numpy_alone():
    for path in (ROOT / "embed/pictures").rglob("*.py"):
        names = imported(path)
        assert not {name.split(".")[0] for name in names} & (NOT_IN_THE_CLIENT | NOT_IN_THE_MODEL_ROOMS), path
        assert all(name.startswith("whymatch.embed.pictures") for name in names if name.startswith("whymatch")), path


def test_importing_it_loads_no_network():
    code = "import sys, whymatch.embed.pictures; print({'torch', 'torchvision', 'faiss'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "set()\n"
