"""The wheel holds what it should and nothing else, and serves from an environment of its own."""

import json
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sample_pictures import png

from whymatch.client.apps.local_server import FIRST_LINE

ROOT = Path(__file__).parents[1]
ROOMS = {
    "v1": ROOT / "proto" / "whymatch" / "v1",
    **{room: ROOT / room for room in ("pictures", "embed", "index", "explain", "server", "client")},
}
IGNORED = [".git", *(line.rstrip("/") for line in (ROOT / ".gitignore").read_text().split())]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of this checkout, for building leaves files behind."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = shutil.copytree(ROOT, folder / "checkout", ignore=shutil.ignore_patterns(*IGNORED))
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder]
    subprocess.run([*command, copy], check=True, capture_output=True)
    [wheel] = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def bin_folder(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a new environment with the wheel in it, which borrows the libraries of this one."""
    environment = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    places = sysconfig.get_paths("venv", {"base": str(environment), "platbase": str(environment)})
    bin_folder = Path(places["scripts"])
    pip = [sys.executable, "-m", "pip", "--python", bin_folder / "python", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", wheel], check=True)
    # Only after the installation, or pip would find whymatch there; its editable hook does not come along.
    Path(places["purelib"], "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    return bin_folder


def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def on_disk(room: str, folder: Path) -> set[str]:
    files = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {f"whymatch/{room}/{path.relative_to(folder).as_posix()}" for path in files}


def test_the_wheel_holds_every_file_of_the_rooms_and_nothing_else(wheel):
    files = {name for name in contents(wheel) if ".dist-info/" not in name}
    assert files == set().union(*(on_disk(room, folder) for room, folder in ROOMS.items()))


def test_the_wheel_brings_its_types_its_protos_its_weights_and_its_license(wheel):
    files = contents(wheel)
    assert {f"whymatch/{room}/py.typed" for room in ROOMS} <= files
    assert {"whymatch/v1/search_service.proto", "whymatch/embed/weights/bundled.safetensors"} <= files
    assert "LICENSE" in {Path(name).name for name in files}


def test_the_new_environment_runs_the_files_of_the_wheel(bin_folder, tmp_path):
    code = "import whymatch.embed, whymatch.v1; print(whymatch.embed.__file__, whymatch.v1.__file__, sep='\\n')"
    for path in run(bin_folder / "python", "-c", code, folder=tmp_path).splitlines():
        assert Path(path).is_relative_to(bin_folder.parent)


def test_the_installed_command_serves_adds_and_searches(bin_folder, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for seed in range(4):
        (photos / f"{seed}.png").write_bytes(png(seed))
    with served(bin_folder / "whymatch", tmp_path) as address:
        run(bin_folder / "whymatch", "add", photos, "--address", address, folder=tmp_path)
        found = run(
            bin_folder / "whymatch", "search", photos / "2.png", "--json", "--address", address, folder=tmp_path
        )
    best = json.loads(found)["matches"][0]
    assert (best["name"], best["score"]) == ("2.png", pytest.approx(1, abs=1e-5))


def run(*command: object, folder: Path) -> str:
    return subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True, timeout=60).stdout


@contextmanager
def served(whymatch: Path, folder: Path) -> Iterator[str]:
    command = [whymatch, "serve", "--data", "data", "--port", "0"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as server:
        try:
            line = server.stdout.readline()
            assert line.startswith(FIRST_LINE)
            yield line.removeprefix(FIRST_LINE).strip()
            server.terminate()
            assert server.wait(30) == 0
        finally:
            server.kill()
