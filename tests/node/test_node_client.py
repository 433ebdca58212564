"""A client in another language works from the .proto files alone."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sample_pictures import png

from whymatch.client.apps.local_server import local_server

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
INSTALLED = ROOT / "build" / "node_client"
INSTALL_LIMIT_S = 90

pytestmark = [pytest.mark.node, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def script() -> Path:
    """The client beside the packages that it needs, which are kept from run to run."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not on this machine")
    INSTALLED.mkdir(parents=True, exist_ok=True)
    installed = INSTALLED / "node_modules" / "package.json"
    wanted = (HERE / "package.json").read_text()
    if not installed.exists() or installed.read_text() != wanted:
        (INSTALLED / "package.json").write_text(wanted)
        install()
        installed.write_text(wanted)
    return shutil.copy(HERE / "client.mjs", INSTALLED)


def install() -> None:
    command = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"]
    try:
        subprocess.run(command, cwd=INSTALLED, check=True, capture_output=True, text=True, timeout=INSTALL_LIMIT_S)
    except subprocess.TimeoutExpired:
        pytest.skip("npm install takes too long here")
    except subprocess.CalledProcessError as err:
        first_line = err.stderr.split("\n")[0]
        pytest.skip(f"npm install fails here: {first_line}")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with local_server(tmp_path_factory.mktemp("data")) as address:
        yield address


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{seed}.png" for seed in range(3)]
    for seed, path in enumerate(paths):
        path.write_bytes(png(seed))
    return paths


def run(script: Path, address: str, gallery: str, files: list[Path]) -> tuple[int, dict]:
    command = ["node", script, address, ROOT / "proto", gallery, *files]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def test_an_image_finds_itself_and_its_maps_add_up_to_the_score(script, address, files):
    code, document = run(script, address, "photos", files)
    assert (code, document["health"], len(document["matches"])) == (0, "SERVING", 3)
    assert document["added"] == [{"name": path.name} for path in files]
    first = document["matches"][0]
    assert (first["name"], first["score"]) == ("0.png", pytest.approx(1, abs=1e-5))
    for match in document["matches"]:
        assert match["query_map_sum"] == pytest.approx(match["score"], abs=1e-3)
        assert match["match_map_sum"] == pytest.approx(match["score"], abs=1e-3)


def test_a_bad_image_has_its_reason_and_the_stream_goes_on(script, address, files):
    files[1].write_bytes(b"no image")
    _, document = run(script, address, "one-is-bad", files)
    bad = {"name": "1.png", "reason": "ERROR_REASON_NOT_AN_IMAGE"}
    assert document["added"] == [{"name": "0.png"}, bad, {"name": "2.png"}]


def test_a_failed_call_has_its_reason(script, address, files):
    run(script, address, "twice", files)
    code, document = run(script, address, "twice", files)
    assert (code, document["error"]["code"], document["error"]["reason"]) == (1, "ALREADY_EXISTS", "GALLERY_EXISTS")
    assert "twice" in document["error"]["message"]
