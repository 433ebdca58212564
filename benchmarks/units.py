"""What looking into units costs: decoded filters and their colors, receptive fields, top images of a whole layer."""

import itertools
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.networks import small_network, write_untrained
from benchmarks.pictures import write_jpegs
from benchmarks.report import Figure
from whymatch.embed import DecodeLimits, Embedder, Model, load_model, load_named_model
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
WHOLE_BATCHES = 2
IMAGES = 2000
TOP_LAYERS = ("features.7", "features.12")
LIMITS = DecodeLimits()


def run() -> list[Figure]:
    """Measure all three."""
    with tempfile.TemporaryDirectory() as folder:
        return [*_filters(Path(folder)), *_fields(Path(folder)), *_tops(Path(folder))]


def _filters(folder: Path) -> list[Figure]:
    model = load_model("alexnet", weights=write_untrained("alexnet", folder))
    started = time.perf_counter()
    count = sum(1 for layer in CONVOLUTIONS for _ in decode_filters(model, layer))
    decoded_s = time.perf_counter() - started
    started = time.perf_counter()
    for layer in CONVOLUTIONS:
        _exhaust(layer_filters(model, layer, ColorThresholds(), AxisSetting()))
    colored_s = time.perf_counter() - started
    return [
        Figure(f"decoding the {count} filters of AlexNet's five convolutions", decoded_s, " s", at_most=60),
        Figure("their color report: decoded, classified, axes of each layer", colored_s, " s", at_most=180),
    ]


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
    started = time.perf_counter()
    found = [one.result for one in find_empirical_field(model, layer, 0, tops, setting)][-1]
    field_s = time.perf_counter() - started
    assert isinstance(found, EmpiricalField)
    whole = np.broadcast_to(images[0], (setting.batch_size, *images[0].shape)).copy()
    started = time.perf_counter()
    for _ in range(WHOLE_BATCHES):
        responses.maps(whole)
    whole_s = (time.perf_counter() - started) / (WHOLE_BATCHES * setting.batch_size) * found.evaluations
    return Figure(
        f"receptive field of a unit of {layer} of SqueezeNet 1.0, {len(images)} images, times faster than whole passes",
        whole_s / field_s,
        at_least=3,
        detail=f"{found.evaluations} evaluations in {field_s:.1f} s, {found.multiplied_share:.0%} of multiplications; "
        f"whole passes up to the layer, {setting.batch_size} a batch, would take {whole_s:.1f} s",
    )


def _tops(folder: Path) -> list[Figure]:
    model = load_named_model(small_network(folder))
    contents = {path.name: path.read_bytes() for path in write_jpegs(folder / "tops", IMAGES)}
    embedder = Embedder(model)
    started = time.perf_counter()
    futures = [embedder.submit(content) for content in contents.values()]
    features = [future.result() for future in futures]
    embedded_s = time.perf_counter() - started
    embedder.close()
    with Galleries(folder / "data", model) as galleries:
        gallery = galleries.create("default")
        images = (NewImage(*both, one) for both, one in zip(contents.items(), features, strict=True))
        while some := list(itertools.islice(images, 500)):
            gallery.add(some)
        del features, futures
        return [_top(UnitsOfGallery(gallery, model, layer, LIMITS), embedded_s) for layer in TOP_LAYERS]


def _top(units: UnitsOfGallery, embedded_s: float) -> Figure:
    channels = range(units.responses.channels)
    started = time.perf_counter()
    _exhaust(units.tops(channels, 60))
    tops_s = time.perf_counter() - started
    started = time.perf_counter()
    _exhaust(units.tops(channels, 60))
    again_s = time.perf_counter() - started
    kept = "from stored feature maps" if units.responses.is_pooled else "by running the network"
    return Figure(
        f"top images of all {len(channels)} units of {units.layer} over {IMAGES} stored images, {kept}, "
        "in embedding passes",
        tops_s / embedded_s,
        at_most=1.3,
        detail=f"{tops_s:.1f} s, and {again_s:.1f} s the second time, against {embedded_s:.1f} s",
    )


def _exhaust(steps: Iterator[object]) -> None:
    for _ in steps:
        pass
