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
