"""Imports point one way: embed, index, explain, server; the client knows the proto alone."""

import ast
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
        rooms = {name.split(".")[1] for name in names if name.startswith("whymatch.")}
        tops = {name.split(".")[0] for name in names}
        assert rooms <= MAY_IMPORT[room], path
        assert not tops & ROOMS, f"{path} imports a folder; import whymatch.ROOM"
        if room in ("embed", "index", "explain"):
            assert not tops & NOT_IN_THE_MODEL_ROOMS, path
        if room == "client":
            assert not tops & NOT_IN_THE_CLIENT, path


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
