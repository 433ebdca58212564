"""What looking into units costs: decoded filters and their colors, receptive fields, top images of a whole layer."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import numpy as np

from benchmarks.networks import small_network, write_untrained
from benchmarks.pictures import write_jpegs
from benchmarks.report import Figure, seconds, spread
from whymatch.embed import DecodeLimits, Embedder, Features, Model, load_model, load_named_model
from whymatch.explain.units import (
    AxisSetting,
    ColorThresholds,
    EmpiricalField,
    LayerResponses,
    OccluderSetting,
    UnitsOfGallery,
    decode_filters,
    find_empirical_field,
    layer_filters,
)
from whymatch.index import Galleries, NewImage

CONVOLUTIONS = ("features.0", "features.3", "features.6", "features.8", "features.10")
"""Of AlexNet: 64, 192, 384, 256 and 256 filters."""
FIELD_LAYERS = ("features.7", "features.12")
FIELD_IMAGES = 10
WHOLE_EVERY = 4
"""A whole batch is measured after this many batches of occluders."""
IMAGES = 2000
SOME = 100
"""Images that are embedded in a turn."""
TOP_LAYERS = ("features.7", "features.12")
LIMITS = DecodeLimits()


def run() -> list[Figure]:
    """Measure all three."""
    with tempfile.TemporaryDirectory() as folder:
        return [*_filters(Path(folder)), *_fields(Path(folder)), *_tops(Path(folder))]


def _filters(folder: Path) -> list[Figure]:
    model = load_model("alexnet", weights=write_untrained("alexnet", folder))
    count = 0

    def decode(layer: str) -> None:
        nonlocal count
        count += sum(1 for _ in decode_filters(model, layer))

    decoded_s, decoded = _in_all(decode)
    colored_s, colored = _in_all(lambda layer: _exhaust(layer_filters(model, layer, ColorThresholds(), AxisSetting())))
    return [
        Figure(
            f"decoding the {count} filters of AlexNet's five convolutions", decoded_s, " s", at_most=60, detail=decoded
        ),
        Figure(
            "their color report: decoded, classified, axes of each layer", colored_s, " s", at_most=180, detail=colored
        ),
    ]


def _in_all(action: Callable[[str], None]) -> tuple[float, str]:
    """Return the seconds of an action on all convolutions, and words that say what they are worth."""
    before = time.process_time()
    taken = seconds(lambda: [action(layer) for layer in CONVOLUTIONS])
    processor = time.process_time() - before
    return taken, f"{processor:.0f} s of processor time; compared with nothing: whatever else runs counts"


def _fields(folder: Path) -> list[Figure]:
    model = load_model("squeezenet1_0", weights=write_untrained("squeezenet1_0", folder))
    contents = [path.read_bytes() for path in write_jpegs(folder / "fields", FIELD_IMAGES)]
    images = [model.prepare(content, LIMITS).pixels for content in contents]
    return [_field(model, layer, images) for layer in FIELD_LAYERS]


def _field(model: Model, layer: str, images: list[np.ndarray]) -> Figure:
    responses = LayerResponses(model, layer)
    maps = [responses.maps(np.stack([pixels]))[0, 0].numpy() for pixels in images]
    cells = [np.unravel_index(one.argmax(), one.shape) for one in maps]
    tops = [(pixels, (int(row), int(column))) for pixels, (row, column) in zip(images, cells, strict=True)]
    setting = OccluderSetting()
    whole = np.broadcast_to(images[0], (setting.batch_size, *images[0].shape)).copy()
    responses.maps(whole)
    field, wholes, found = [], [], None
    for number, taken, step in _timed(find_empirical_field(model, layer, 0, tops, setting)):
        field.append(taken)
        found = step.result
        if number % WHOLE_EVERY == 0:  # in turn, so that a slow spell of the machine hits both
            wholes.append(seconds(lambda: responses.maps(whole)))
    assert isinstance(found, EmpiricalField)
    field_s, each = sum(field), np.array(wholes) / setting.batch_size
    whole_s = float(each.mean()) * found.evaluations
    return Figure(
        f"receptive field of a unit of {layer} of SqueezeNet 1.0, {len(images)} images, times faster than whole passes",
        whole_s / field_s,
        at_least=3,
        detail=f"{found.evaluations} evaluations in {field_s:.1f} s, {found.multiplied_share:.0%} of multiplications; "
        f"whole passes up to the layer, {setting.batch_size} a batch, would take {whole_s:.1f} s, each image "
        f"{spread(each * 1000, ' ms')}",
    )


Step = TypeVar("Step")


def _timed(steps: Iterator[Step]) -> Iterator[tuple[int, float, Step]]:
    """Yield the number, the seconds and the result of each step."""
    started = time.perf_counter()
    for number, step in enumerate(steps):
        yield number, time.perf_counter() - started, step
        started = time.perf_counter()


def _tops(folder: Path) -> list[Figure]:
    model = load_named_model(small_network(folder))
    contents = {path.name: path.read_bytes() for path in write_jpegs(folder / "tops", IMAGES)}
    with Galleries(folder / "data", model) as galleries, closing(Embedder(model)) as embedder:
        gallery = galleries.create("default")
        for some in _some(list(contents.items())):
            gallery.add([NewImage(*each, one) for each, one in zip(some, _embedded(embedder, some), strict=True)])
        return [_top(UnitsOfGallery(gallery, model, each, LIMITS), embedder, contents) for each in TOP_LAYERS]


Contents = list[tuple[str, bytes]]
"""Names and files of images."""


def _some(contents: Contents) -> list[Contents]:
    return [contents[start : start + SOME] for start in range(0, len(contents), SOME)]


def _embedded(embedder: Embedder, contents: Contents) -> list[Features]:
    return [future.result() for future in [embedder.submit(content) for _, content in contents]]


def _top(units: UnitsOfGallery, embedder: Embedder, contents: dict[str, bytes]) -> Figure:
    """Compare with embedding the images, some whenever as many have been passed."""
    channels, waiting = range(units.responses.channels), _some(list(contents.items()))
    tops: list[float] = []
    embedded: list[float] = []
    for _, taken, step in _timed(units.tops(channels, 60)):
        tops.append(taken)
        while waiting and len(embedded) * SOME < step.done:
            some = waiting.pop()
            embedded.append(seconds(lambda some=some: _embedded(embedder, some)))
    tops_s, embedded_s = sum(tops), sum(embedded)
    again_s = seconds(lambda: _exhaust(units.tops(channels, 60)))
    kept = "from stored feature maps" if units.responses.is_pooled else "by running the network"
    return Figure(
        f"top images of all {len(channels)} units of {units.layer} over {IMAGES} stored images, {kept}, "
        "in embedding passes",
        tops_s / embedded_s,
        at_most=1.3,
        detail=f"{tops_s:.1f} s, and {again_s:.1f} s the second time, against {embedded_s:.1f} s, of "
        f"{spread(np.array(embedded), ' s')}",
    )


def _exhaust(steps: Iterator[object]) -> None:
    for _ in steps:
        pass
