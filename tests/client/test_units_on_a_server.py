"""Units through the real server: both clients, the command line, its pictures, and the report."""

import asyncio
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from click.testing import Result
from sample_pictures import png
from server_harness import serving
from small_networks import small
from typer.testing import CliRunner

from whymatch.client import (
    AsyncClient,
    AxisSetting,
    Client,
    ColorThresholds,
    InvalidArgument,
    Layer,
    Model,
    NewImage,
    NotFound,
    OccluderSetting,
    SelectivitySetting,
    Stored,
)
from whymatch.client.apps.audit.report import ReportMismatch, ReportSetting, choose_layers, write_report
from whymatch.client.apps.layer_choice import spread
from whymatch.client.cli.app import app
from whymatch.server import ServerConfig

LAYER = "conv1"
QUICK = OccluderSetting(side_px=6, stride_px=6)


@pytest.fixture(scope="module")
def server_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a gallery of ten pictures, even and odd, under a network with a dead unit, 2."""
    model = small()
    model.trunk.module.get_submodule("conv1").bias.data[2] = -100.0
    config = ServerConfig(data=tmp_path_factory.mktemp("data"), port=0)
    with serving(config, model) as server, Client(server.address) as client:
        client.create_gallery("default")
        images = [NewImage(png(seed), f"{seed}.png", ("even", "odd")[seed % 2]) for seed in range(10)]
        assert all(added.image for added in client.add(images))
        yield client


@pytest.fixture
def run(server_client: Client) -> Callable[..., Result]:
    def run(*arguments: object) -> Result:
        words = [str(argument) for argument in ("units", *arguments, "--address", server_client.address)]
        return CliRunner().invoke(app, words)

    return run


@pytest.fixture
def ask(run: Callable[..., Result]) -> Callable[..., dict]:
    def ask(*arguments: object) -> dict:
        result = run(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return ask


def opened(path: Path) -> PIL.Image.Image:
    return PIL.Image.open(io.BytesIO(path.read_bytes()))


def said(result: Result) -> str:
    """What a frame of error says, on one line."""
    return " ".join(re.sub("[│╭╮╰╯─]", " ", result.output).split())


# The clients


def test_units_are_described(server_client):
    told = []
    found = list(
        server_client.units.describe(
            LAYER,
            [0, 2],
            top_count=3,
            label_image_count=4,
            with_patches=True,
            with_colors=True,
            selectivity=SelectivitySetting(max_pixels=200),
            progress=told.append,
        )
    )
    alive, dead = found
    assert [one.response for one in alive.top_images] == sorted(
        (one.response for one in alive.top_images), reverse=True
    )
    assert alive.maximum == alive.top_images[0].response
    assert alive.top_images[0].patch().size <= (3, 3)
    assert (alive.label_image_count, sum(one.image_count for one in alive.labels)) == (4, 4)
    assert alive.color.setting == SelectivitySetting(3, 20, 0.2, 0.01, 200, 0)
    assert (alive.receptive_field.width_px, alive.receptive_field.stride_x_px) == (3, 2)
    assert (dead.is_dead, dead.maximum, dead.color, dead.labels) == (True, 0, None, ())
    assert alive.layer_unit_count == dead.layer_unit_count == 6
    assert told[-1].counted == "images"
    assert told[-1].done == told[-1].total == 10
    with pytest.raises(ValueError, match="with_patches=True"):
        next(server_client.units.describe(LAYER, [0])).top_images[0].patch()


def test_filters_are_decoded(server_client):
    told = []
    found = list(server_client.units.filters(LAYER, [1, 4], with_values=True, progress=told.append))
    assert [one.channel for one in found] == [1, 4]
    assert np.abs(found[0].values).max() == pytest.approx(found[0].scale)
    assert found[0].picture().size == (3, 3)
    assert [one.done for one in told] == [1, 2]
    loose = ColorThresholds(aligned_share=0.0)
    [one] = server_client.units.filters(LAYER, [1], thresholds=loose)
    assert one.color.alignment == "aligned"
    assert one.color.thresholds.aligned_share == 0
    assert one.values is None


def test_a_layer_has_colors(server_client):
    found = server_client.units.layer_colors(LAYER, axes=AxisSetting(bin_deg=20), top_count=2)
    assert len(found.units) == 6
    assert len(found.histogram) == 9
    assert found.axis_setting.bin_deg == 20
    assert (found.dead_count, found.units[2].selectivity) == (1, None)
    assert [round(threshold, 2) for threshold, _ in found.curve] == [0.3, 0.4, 0.5, 0.6, 0.7]
    assert found.no_axes
    assert found.axes == ()


def test_some_units_of_a_layer_have_colors_alone(server_client):
    every, some = (server_client.units.layer_colors(LAYER, channels, top_count=2) for channels in ((), (4, 1)))
    assert [one.channel for one in some.units] == [4, 1]
    assert [one.filter for one in some.units] == [every.units[4].filter, every.units[1].filter]
    assert some.units[0].selectivity.selectivity == every.units[4].selectivity.selectivity


def test_top_images_are_segmented_by_their_unit(server_client):
    [unit] = server_client.units.describe("relu", [0], top_count=3, with_segments=True, segment_quantile=0.5)
    for top in unit.top_images:
        [alone] = server_client.units.segment(Stored(top.name), "relu", [0], quantile=0.5).segments
        mask, shown = np.asarray(PIL.Image.open(io.BytesIO(alone.mask_png))) > 0, np.asarray(top.segment())
        assert shown.shape[:2] == mask.shape
        assert 0 < mask.mean() < 1
        assert shown[~mask].max() <= 255 // 5
        assert shown[mask].max() > 255 // 5
    with pytest.raises(ValueError, match="with_segments=True"):
        next(server_client.units.describe(LAYER, [0])).top_images[0].segment()


def test_the_units_that_respond_most_are_chosen(server_client):
    peaks = {}
    for one in server_client.units.segment(Stored("3.png"), "relu", range(6)).segments:
        if one.threshold is not None:
            peaks[one.channel] = one.responses.max() / one.maximum
    expected = sorted(peaks, key=lambda channel: -peaks[channel])
    for limit in (2, None):
        found = server_client.units.segment(Stored("3.png"), "relu", unit_limit=limit)
        assert [one.channel for one in found.segments] == expected[:limit]


def test_detectors_name_what_is_in_an_image(server_client):
    labels = {one.channel: one.labels[0] for one in server_client.units.describe("relu") if one.labels}
    precision = sorted(one.precision for one in labels.values())[-2]  # two units at least
    found = server_client.units.segment(Stored("3.png"), "relu", detector_precision=precision, class_limit=2)
    detectors = {channel for channel, one in labels.items() if one.precision >= precision}
    assert {one.channel for one in found.segments} <= detectors
    assert all(one.label == labels[one.channel] for one in found.segments)
    assert all(one.area_share > 0 for one in found.segments)
    first, second = found.classes
    assert 1 > first.probability >= second.probability > 0


def test_a_receptive_field_is_found(server_client):
    found = server_client.units.receptive_field(LAYER, 0, image_count=2, occluder=QUICK)
    assert found.values.shape == (3, 3)
    assert 0 < found.width_px <= found.theoretical.width_px == 3
    assert found.image_count == 2
    dead = server_client.units.receptive_field(LAYER, 2, occluder=QUICK)
    assert (dead.width_px, dead.box, dead.image_count, dead.values.size) == (0, None, 0, 0)


def test_an_image_is_segmented_and_found(server_client):
    found = server_client.units.segment(Stored("3.png"), "relu", [0, 1], match_limit=2, overlays=True)
    assert [one.channel for one in found.segments] == [0, 1]
    assert found.segments[0].mask().size == (96, 64)
    assert max(found.segments[0].overlay().size) == 96
    assert found.matches[0].name == "3.png"
    quantile = server_client.units.segment(png(3), "relu", [0], quantile=0.5).segments[0]
    assert quantile.sampled_cells == 80
    with pytest.raises(ValueError, match="overlays=True"):
        quantile.overlay()
    with pytest.raises(ValueError, match="exclude each other"):
        server_client.units.segment(png(3), "relu", [0], share=0.5, quantile=0.5)
    with pytest.raises(TypeError, match=r"write \[3\]"):
        server_client.units.segment(png(3), "relu", 3)


@pytest.mark.parametrize("class_name", [None, "top1"])
def test_an_image_is_simplified(server_client, class_name):
    steps = list(server_client.units.minimal_image(png(30), class_name=class_name, segment_count=5, overlays=True))
    assert steps[0].segments.max() + 1 == steps[0].segments_left
    assert steps[0].picture().size == (96, 64)
    assert [step.minimal for step in steps] == [False] * (len(steps) - 1) + [True]
    assert steps[-1].segments_left == steps[0].segments_left - len(steps) + 2
    assert "/" not in steps[0].prediction


def test_leading_channels_are_units(server_client):
    explanation = server_client.explain_match(Stored("1.png"), Stored("2.png"), channel_limit=2)
    for one in explanation.channels:
        layer, channel = one.unit
        [unit] = server_client.units.describe(layer, [channel])
        assert unit.channel == one.channel


def test_the_asynchronous_client_does_the_same(server_client):
    async def everything():
        async with AsyncClient(server_client.address) as client:
            described = [one async for one in client.units.describe(LAYER, [0])]
            filters = [one async for one in client.units.filters(LAYER, [0])]
            colors = await client.units.layer_colors(LAYER)
            field = await client.units.receptive_field(LAYER, 0, image_count=1, occluder=QUICK)
            segments = await client.units.segment(png(3), LAYER, [0])
            steps = [one async for one in client.units.minimal_image(png(3), segment_count=3)]
            with pytest.raises(InvalidArgument):
                [one async for one in client.units.describe("nowhere")]
            return described, filters, colors, field, segments, steps

    described, filters, colors, field, segments, steps = asyncio.run(everything())
    [same] = server_client.units.describe(LAYER, [0])
    assert described[0].maximum == same.maximum
    assert filters[0].channel == 0
    assert len(colors.units) == 6
    assert field.image_count == 1
    assert len(segments.segments) == 1
    assert steps[-1].minimal


# The command line


def test_show_prints_the_names_that_others_rely_on(ask, tmp_path):
    document = ask("show", LAYER, 0, "--top", 3, "--pictures", tmp_path)
    assert [top["name"] for top in document["top_images"]]
    assert len(document["top_images"]) == 3
    assert 0 < document["color"]["selectivity"] <= 1
    assert document["receptive_field"]["theoretical"]["width_px"] == 3
    assert document["decoded_filter"]["color"]["content"] == "varied"
    card = opened(Path(document["picture"]))
    assert card.width > 1000  # patches, segments, facts
    dead = ask("show", LAYER, 2)
    assert (dead["dead"], dead["color"], dead["top_images"]) == (True, None, [])


def test_show_says_it_in_words(run):
    result = run("show", LAYER, 0)
    assert "sees at most 3 x 3 px" in result.stdout
    assert "labels of the top 9 images: " in result.stdout
    result = run("show", LAYER, 2)
    assert "dead: no image of the gallery makes it respond" in result.stdout


def test_receptive_field_prints_the_names_that_others_rely_on(ask, run, tmp_path):
    document = ask(
        "receptive-field", LAYER, 0, "--images", 2, "--occluder", 6, "--stride", 6, "--pictures", tmp_path / "new"
    )
    assert document["empirical"]["width_px"] > 0
    assert document["theoretical"]["width_px"] == 3
    assert document["map"]["rows"] == 3
    assert opened(tmp_path / "new" / "sheet.png").width > 300
    assert "conv1 / 2: dead" in run("receptive-field", LAYER, 2).stdout


def test_labels_come_side_by_side(ask, run, server_client):
    document = ask("labels", LAYER, "--top", 4, "--precision", 0.5, "--also", f"{server_client.address}=relu")
    first, second = document["networks"]
    assert [(one["layer"], one["unit_count"]) for one in (first, second)] == [("conv1", 6), ("relu", 6)]
    assert first["dead_count"] == 1
    for network in (first, second):
        for detector in network["detectors"]:
            for unit in detector["units"]:
                assert network["units"][unit]["labels"][0]["label"] == detector["label"]
                assert network["units"][unit]["labels"][0]["precision"] >= 0.5
    assert first["frequency_correlation"] is None  # both labels have five images
    lines = run("labels", LAYER, "--top", 4).stdout.splitlines()
    assert lines[0] == "label\tsmall conv1"
    assert "1 are dead" in lines[-1]


def test_filters_colors_and_segments_are_drawn(ask, run, tmp_path):
    document = ask("filters", LAYER, "--pictures", tmp_path / "filters", "--values")
    assert len(document["filters"]) == 6
    assert np.shape(document["filters"][0]["values"]) == (3, 3, 3)
    assert opened(tmp_path / "filters" / "sheet.png")
    assert "6 filters of 3 x 3 px" in run("filters", LAYER).stdout

    document = ask("colors", LAYER, "relu", "--pictures", tmp_path / "colors")
    assert [one["layer"] for one in document["layers"]] == ["conv1", "relu"]
    files = {path.name for path in (tmp_path / "colors").glob("*.png")}
    assert files == {"axes-conv1.png", "axes-relu.png", "classes-conv1.png", "classes-relu.png", "selectivity.png"}
    words = run("colors", LAYER).stdout
    assert "aligned centered\taligned shifted\tdispersed" in words
    assert "1 units are dead" in words

    document = ask("segment", "image:3.png", LAYER, 0, 2, "--limit", 1, "--pictures", tmp_path / "segments")
    assert [one["threshold"] is None for one in document["segments"]] == [False, True]
    assert document["matches"][0]["name"] == "3.png"
    assert opened(Path(document["segments"][0]["picture"])).size == (96, 64)
    assert opened(tmp_path / "segments" / "conv1-0000-mask.png").getextrema() == (0, 255)


def test_a_minimal_image_is_drawn_step_by_step(ask, run, tmp_path):
    document = ask("minimal-image", "image:3.png", "--segments", 20, "--pictures", tmp_path)
    frames = sorted(tmp_path.glob("step-*.png"))
    assert len(frames) == len(document["steps"])
    with PIL.Image.open(tmp_path / "animation.gif") as animation:
        assert animation.n_frames <= len(frames)
    assert opened(tmp_path / "sheet.png")
    assert document["steps"][0]["segment"] is None
    assert document["area_share"] == document["steps"][-1]["area_share"]
    words = run("minimal-image", "image:3.png", "--segments", 4, "--target", "class").stdout
    assert "is enough for" in words.splitlines()[-1]


def test_cards_of_leading_channels_come_with_a_match(server_client, tmp_path):
    command = ["explain", "match", "image:1.png", "image:2.png", "--maps", tmp_path, "--cards", 2, "--channels", 1]
    words = [*map(str, command), "--json", "--address", server_client.address]
    document = json.loads(CliRunner().invoke(app, words).stdout)
    [leading] = document["channels"]
    assert leading["unit"]["unit"] == leading["channel"]
    assert opened(Path(leading["card"])).width > 400
    assert len(list(tmp_path.glob(f"{leading['unit']['layer']}-*.png"))) == 2
    without = CliRunner().invoke(app, [*map(str, command[:4]), "--cards", "2", "--address", server_client.address])
    assert without.exit_code == 2
    assert "--cards requires --maps" in said(without)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["segment", "image:3.png", LAYER, 0, "--share", "0"], "more than 0 and at most 1"),
        (["segment", "image:3.png", LAYER, 0, "--quantile", "nan"], "0 or more and less than 1"),
        (["segment", "image:3.png", LAYER, 0, "--quantile", "0.5", "--share", "0.5"], "exclude each other"),
        (["segment", "nowhere.png", LAYER, 0], "there is no file"),
        (["colors", LAYER, "--no-axes", "--no-selectivity"], "nothing to measure"),
        (["filters", LAYER, "--values"], "--values requires --json"),
        (["minimal-image", "image:3.png", "--target", "unit:3"], "write match, class or class:NAME"),
        (["minimal-image", "image:3.png", "--segmentation", "grid"], "'slic', 'felzenszwalb'"),
        (["minimal-image", "image:3.png", "--fill", "pink"], "'gray', 'blur'"),
        (["show", LAYER, "-1"], "No such option"),
    ],
)
def test_misuse_says_what_to_write(run, arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in said(result)


def test_failures_say_what_the_server_says(run):
    result = run("show", "conv9", 0)
    assert result.exit_code == 5
    assert "'conv9' is no layer of this network" in result.stderr
    assert "no channel 77" in run("show", LAYER, 77).stderr
    assert "no channel 77" in run("receptive-field", LAYER, 77).stderr


def test_thresholds_and_settings_of_colors_are_options(ask):
    thresholds = ["--aligned-share", 0.1, "--centered-distance", 9, "--name-share", 0.3]
    [layer] = ask("colors", LAYER, *thresholds, "--bin", 20, "--units-per-component", 3, "--seed", 4, "--leading", 2)[
        "layers"
    ]
    settings = layer["units"][0]["filter"]["thresholds"]
    assert (settings["aligned_share"], settings["centered_distance"], settings["name_share"]) == (0.1, 9, 0.3)
    assert settings["gray_share"] == 0.98  # the server's
    assert (layer["axis_setting"]["bin_deg"], layer["axis_setting"]["units_per_component"]) == (20, 3)
    assert (layer["axis_setting"]["seed"], layer["units"][0]["color"]["setting"]["leading"]) == (4, 2)
    [one] = ask("filters", LAYER, 0, "--aligned-share", 0.1)["filters"]
    assert one["color"]["alignment"] == "aligned"


def test_detectors_are_drawn(run, ask, tmp_path):
    document = ask("segment", "image:3.png", "relu", "--detectors", "--limit", 2, "--pictures", tmp_path)
    assert all(one["label"]["precision"] >= 0.5 for one in document["segments"])
    assert len(document["matches"]) == 2
    assert document["classes"]
    assert opened(tmp_path / "detectors.png").width > 1000
    none = run("segment", "image:3.png", "relu", "--detectors", "--precision", 1).stderr
    assert "no unit that detects a label responds to this image" in none
    assert len(run("segment", "image:3.png", "relu", "--count", 2).stdout.splitlines()) == 2
    assert run("labels", LAYER, "--plot", tmp_path / "bars.png").exit_code == 0
    assert opened(tmp_path / "bars.png").width > 300


# The report


def test_a_report_is_browsable_and_goes_on_where_it_was(run, tmp_path):
    arguments = ["report", tmp_path / "r", "--layer", LAYER, "--layer", "relu", "--units", 3, "--fields", 1]
    first = run(*arguments)
    assert first.exit_code == 0, first.output
    page = Path(first.stdout.strip())
    assert page == tmp_path / "r" / "index.html"
    linked = set(re.findall(r'(?:href|src)="([^"#:]+)"', page.read_text()))
    assert linked == {"conv1/index.html", "relu/index.html", "selectivity.png"}
    for layer in ("conv1", "relu"):
        for sub in (tmp_path / "r" / layer).glob("*.html"):
            for link in re.findall(r'(?:href|src)="([^"#:]+)"', sub.read_text()):
                assert (sub.parent / link).exists(), link
    assert "dead" in (tmp_path / "r" / "conv1" / "0002.html").read_text()

    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "r").rglob("*.json")}
    (tmp_path / "r" / "conv1" / "0000.json").unlink()
    assert run(*arguments).exit_code == 0
    made = {path for path in kept if path.stat().st_mtime_ns != kept[path]}
    assert made == {tmp_path / "r" / "conv1" / "0000.json"}
    (tmp_path / "r" / "conv1" / "axes.json").write_text("half a fi")
    assert run(*arguments).exit_code == 0
    assert json.loads((tmp_path / "r" / "conv1" / "axes.json").read_text())
    assert run(*arguments[:4], "--units", 3, "--fields", 1).exit_code == 0  # the same of one layer


def dangling(folder: Path) -> set[str]:
    """The links of all pages that lead nowhere."""
    pages = [(page, page.read_text()) for page in folder.rglob("*.html")]
    links = [(page, link) for page, text in pages for link in re.findall(r'(?:href|src)="([^"#:]+)"', text)]
    return {f"{page}: {link}" for page, link in links if not (page.parent / link).exists()}


def test_the_pages_of_a_report_are_whole_wherever_it_stops(server_client, tmp_path):
    class Stopped(Exception):
        pass

    def stop_after(calls: int):
        left = iter(range(calls))

        def call(what: str):
            if next(left, None) is None:
                raise Stopped
            return lambda progress: None

        return call

    ways, total = 0, None
    for calls in range(2, 30):
        try:
            write_report(server_client, tmp_path, [LAYER, "relu"], ReportSetting(2, 1, 1), stop_after(calls))
        except Stopped:
            ways += 1
        else:
            total = calls
        assert dangling(tmp_path) == set()
        assert (tmp_path / "index.html").exists()
        if total:
            break
    assert ways >= 3
    assert "not finished" not in (tmp_path / "index.html").read_text()


def test_a_report_of_some_units_asks_for_these_alone(run, tmp_path):
    assert run("report", tmp_path, "--layer", LAYER, "--units", 2, "--fields", 0).exit_code == 0
    for file in ("axes.json", "selectivity.json"):
        kept = json.loads((tmp_path / LAYER / file).read_text())
        assert [unit["unit"] for unit in kept["units"]] == [0, 5]
    assert "6 units, of which 2 are looked at" in " ".join((tmp_path / LAYER / "index.html").read_text().split())


def test_a_report_of_something_else_is_not_mixed_in(run, server_client, tmp_path):
    assert run("report", tmp_path, "--layer", LAYER, "--units", 1, "--fields", 0).exit_code == 0
    other = run("report", tmp_path, "--layer", LAYER, "--units", 2, "--fields", 0)
    assert other.exit_code == 2
    assert "a report with other values of units" in said(other)
    with pytest.raises(ReportMismatch, match="other values of fields"):
        write_report(server_client, tmp_path, ["relu"], ReportSetting(1, 1), lambda what: lambda progress: None)
    with pytest.raises(InvalidArgument):
        write_report(server_client, tmp_path / "new", ["conv9"], ReportSetting(1), lambda what: lambda progress: None)
    assert not (tmp_path / "new").exists()


def test_a_report_chooses_layers_itself(server_client):
    chosen = choose_layers(server_client, ())
    assert chosen[0] == "conv1"
    assert chosen[-1] == server_client.model().layer
    assert choose_layers(server_client, ["relu"]) == ["relu"]


def test_layers_are_chosen_of_whole_blocks_up_to_what_is_pooled():
    def of(*names: str, pooled: str, without: tuple[str, ...] = ()) -> Model:
        layers = [Layer(name, (), 8, name not in without) for name in (*names, *without)]
        return Model("m", "b", pooled, "average", "float32", 8, {}, layers)

    parts = [f"features.{number}{part}" for number in range(3, 9) for part in (".squeeze", "")]
    squeezenet = of("features.1", *parts, pooled="features.8", without=("scores",))
    assert spread(squeezenet, 3) == ["features.1", "features.7", "features.8"]
    parts = [f"features.{number}.conv.{part}" for number in range(1, 5) for part in (0, 1)]
    mobilenet = of("features.0", *parts, pooled="features.18.2")
    assert spread(mobilenet, 3) == ["features.0", "features.4.conv.1", "features.18.2"]
    assert spread(of("a", pooled="b", without=("fc-6", "scores")), 5) == ["a", "b"]
    assert spread(of(pooled="b"), 5) == ["b"]
    assert spread(of("a", "b", pooled="b,last"), 5) == ["a", "b"]


def test_the_gallery_of_a_client_is_that_of_its_units(server_client):
    with Client(server_client.address) as client:
        client.gallery = "nowhere"
        with pytest.raises(NotFound, match="nowhere"):
            next(client.units.describe(LAYER, [0]))
