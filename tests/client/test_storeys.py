"""Within the client, imports point down: cli, apps, draw, the library, wire; slow packages wait until they are used."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

CLIENT = Path(__file__).parents[2] / "client"
MAY_NOT_IMPORT = {
    "draw": {"apps", "cli", "wire", "client", "aio", "units", "units_aio", "channel"},
    "apps": {"cli", "wire"},
    "cli": {"wire"},
}


def imported(path: Path) -> set[str]:
    """Return what a file imports, also inside functions: modules, and names that may be modules."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize("storey", MAY_NOT_IMPORT)
def test_a_storey_imports_only_what_is_below_it(storey):
    for path in (CLIENT / storey).rglob("*.py"):
        inside = {name.removeprefix("whymatch.client.") for name in imported(path)}
        above = {name for name in inside if name.split(".")[0] in MAY_NOT_IMPORT[storey]}
        assert not above, f"{path} imports {above}"


def test_the_library_imports_no_storey_above_it():
    for path in [*CLIENT.glob("*.py"), *(CLIENT / "wire").rglob("*.py")]:
        if path.name != "__main__.py":
            inside = {name.removeprefix("whymatch.client.").split(".")[0] for name in imported(path)}
            assert not inside & {"draw", "apps", "cli"}, path


def test_client_and_commands_import_no_templates_and_no_progress_bars():
    code = "import sys, whymatch.client, whymatch.client.cli.app; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not {"jinja2", "markupsafe", "rich.progress", "PIL"} & set(done.stdout.split())
