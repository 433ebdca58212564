"""A saved document, picture or page tells what was asked, of which gallery, and who answered."""

import io
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sample_pictures import png
from server_harness import serving
from typer.testing import CliRunner, Result

import whymatch.client
from whymatch.client import Client, NewImage
from whymatch.client.apps.pages import page
from whymatch.client.cli.app import app
from whymatch.client.draw.saving import save_png
from whymatch.server import ServerConfig

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def shop(model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a gallery of six pictures, which tests may add to."""
    with (
        serving(ServerConfig(data=tmp_path_factory.mktemp("data"), port=0), model) as server,
        Client(server.address, gallery="shop") as client,
    ):
        client.create_gallery("shop")
        images = [NewImage(png(seed), f"{seed}.png", ("even", "odd")[seed % 2]) for seed in range(6)]
        assert all(added.image for added in client.add(images))
        yield client


@pytest.fixture
def tell(shop: Client) -> Callable[..., Result]:
    """Run the command line on the gallery."""

    def tell(*arguments: object) -> Result:
        words = [str(argument) for argument in arguments]
        environment = {"WHYMATCH_ADDRESS": shop.address, "WHYMATCH_TOKEN": "hush-hush"}
        result = CliRunner().invoke(app, [*words, "--gallery", "shop"], env=environment)
        assert result.exit_code == 0, result.output
        return result

    return tell


@pytest.fixture
def query(tmp_path: Path) -> Path:
    file = tmp_path / "query.png"
    file.write_bytes(png(50))
    return file


def provenance(result: Result) -> dict:
    document = json.loads(result.stdout)
    return document["provenance"]


def test_a_search_tells_the_servers_word_and_what_was_asked(tell, shop, query):
    found = provenance(tell("search", query, "--limit", 2, "--region", "0,0,9,9", "--label", "even", "--json"))
    gallery = shop.get_gallery("shop")
    assert (found["gallery"], found["generation"], found["image_count"]) == ("shop", gallery.generation, 6)
    assert found["gallery_create_time"] == gallery.create_time.isoformat()
    assert found["query_sha256"] == sha256(query.read_bytes()).hexdigest()
    assert found["server_version"] == found["client_version"] == version("whymatch")
    assert datetime.now(UTC) - datetime.fromisoformat(found["time"]) < timedelta(minutes=1)
    assert found["command"].endswith(" search")
    asked = found["request"]
    assert (asked["file"], asked["limit"], asked["region"], asked["label"]) == (str(query), 2, ["0,0,9,9"], ["even"])
    assert (asked["address"], asked["gallery"]) == (shop.address, "shop")


def test_it_keeps_no_secret(tell, query):
    assert "hush" not in tell("search", query, "--json").stdout


def test_a_week_later_it_tells_that_the_gallery_grew(tell, shop, query):
    saved = provenance(tell("search", query, "--json"))
    shop.add_image(png(6), name="6.png")
    assert json.loads(tell("gallery", "show", "shop", "--json").stdout)["generation"] > saved["generation"]
    assert re.search(r"^generation +\d+$", tell("gallery", "show", "shop").stdout, re.MULTILINE)
    shop.delete("6.png")


@pytest.mark.parametrize(
    "command",
    [
        ("search", "QUERY"),
        ("rerank", "QUERY", "--query-region", "0,0,9,9"),
        ("explain", "match", "QUERY", "image:1.png"),
        ("explain", "point", "QUERY", "image:1.png", "--query-point", "3,3"),
        ("explain", "label", "QUERY", "even"),
        ("explain", "components", "--pairs", "4"),
        ("explain", "interactive", "QUERY", "--layer", "features.0"),
        ("embed", "QUERY"),
        ("units", "show", "features.0", "1"),
        ("units", "filters", "features.0", "1"),
        ("units", "segment", "QUERY", "features.0", "1"),
        ("units", "receptive-field", "features.0", "1", "--images", "1"),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_every_document_has_it(tell, query, command):
    words = [str(query) if word == "QUERY" else word for word in command]
    found = provenance(tell(*words, "--json"))
    assert found["request_id"]
    if "QUERY" in command:
        assert found["query_sha256"] == sha256(query.read_bytes()).hexdigest()


def test_one_line_on_stderr_says_who_answered(tell, shop, query):
    for command in (["search", query], ["explain", "match", query, "image:1.png"]):
        [line] = [line for line in tell(*command).stderr.splitlines() if line.startswith(shop.address)]
        generation = shop.get_gallery("shop").generation
        assert f"gallery shop, generation {generation}, 6 images; head none; model " in line
        assert line.endswith("index Flat, exact")


def test_every_picture_carries_it(tell, query, tmp_path):
    document = json.loads(tell("search", query, "--maps", tmp_path / "maps", "--limit", 2, "--json").stdout)
    files = [*(tmp_path / "maps").glob("*.png")]
    assert len(files) == 5
    for file in files:
        with Image.open(file) as picture:
            assert json.loads(picture.text["whymatch"]) == document["provenance"]
            assert picture.text["Software"] == f"whymatch {version('whymatch')}"


@pytest.mark.parametrize("given", [Image.new("RGB", (3, 2), "red"), png(1)], ids=["a picture", "bytes"])
def test_saving_a_picture_changes_no_pixel(given, tmp_path):
    save_png(given, tmp_path / "a.png", None)
    before = Image.open(io.BytesIO(given)) if isinstance(given, bytes) else given
    with Image.open(tmp_path / "a.png") as after:
        after.verify()  # the checksums
    with Image.open(tmp_path / "a.png") as after:
        assert np.array_equal(np.asarray(after), np.asarray(before))
        assert after.text.keys() == {"Software", "whymatch"}


def test_the_client_saves_pictures_in_one_place_only():
    """`.save(` elsewhere is a picture inside a page, or an animation; `..._png` goes through `save_png`."""
    saving = re.compile(r"\.save\((?!file, \"(JPEG|WEBP)\"|\s*folder / \"animation.gif\")|write_bytes\([\w.]*_png\)")
    found = {path.name for path in (ROOT / "client").rglob("*.py") if saving.search(path.read_text())}
    assert found == {"saving.py"}


def test_a_page_carries_it():
    html = str(page([], title="a page"))
    assert f'<meta name="generator" content="whymatch {version("whymatch")}">' in html
    assert '<meta name="whymatch" content="{&#34;client_version&#34;' in html


def test_the_client_knows_its_version():
    assert whymatch.client.__version__ == version("whymatch")


def test_of_a_server_that_does_not_say_the_document_tells_what_was_asked(run, colors, save):
    path = save("red-query.png")
    assert colors.search(path).provenance is None
    found = provenance(run("search", path, "--limit", 1, "--json"))
    assert found.keys() == {"client_version", "time", "command", "request"}
