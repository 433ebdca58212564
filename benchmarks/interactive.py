"""What InterActive costs: maps in forward passes of the same input, and the memory of nine layers of VGG-19."""

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.networks import write_untrained
from benchmarks.report import Figure, in_turn, spread
from whymatch.embed import InterActiveSetting, Model, load_model
from whymatch.explain.interactive_study.descriptors import PAPER_LAYERS

SIZE_PX = 512
LAYERS = {"squeezenet1_1": "features.7", "resnet50": "layer2"}
EIGHT = [(supervision, norm) for supervision in ("last", "next") for norm in (1.0, 2.0)]
GIB = 2**30


def run() -> list[Figure]:
    """Measure squeezenet1_1 and resnet50 at 512 x 512, and VGG-19 in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        models = {name: load_model(name, weights=_untrained(name, folder)) for name in LAYERS}
        figures = [figure for name, model in models.items() for figure in _costs(name, model, LAYERS[name])]
        return [*figures, _memory(_untrained("vgg19", folder))]


def _untrained(name: str, folder: str) -> Path:
    return write_untrained(name, Path(folder))


def _costs(name: str, model: Model, layer: str) -> list[Figure]:
    pixels = np.random.default_rng(0).integers(0, 256, (1, SIZE_PX, SIZE_PX, 3), np.uint8)
    low, middle = model.layers.all[len(model.layers.all) // 4].name, layer
    several = [InterActiveSetting(each, supervision, norm) for each in (low, middle) for supervision, norm in EIGHT]

    def weighing(*settings: InterActiveSetting) -> Callable[[], object]:
        return lambda: model.weigh(pixels, settings)

    ways = [
        weighing(InterActiveSetting(layer, "last")),
        weighing(InterActiveSetting(layer, "next")),
        weighing(*several),
    ]
    forward, *times = in_turn(lambda: model.feature_maps(pixels), *ways, rounds=16, warm_up=2)
    words = (f"one map of {layer}, last", f"one map of {layer}, next", "eight settings over one image")
    return [
        Figure(
            f"InterActive, {words[number]}, in forward passes, {name}",
            float(np.median(each / forward)),
            at_most=goal,
            detail=f"{np.median(each) * 1000:.0f} ms against {np.median(forward) * 1000:.0f} ms at {SIZE_PX} px; "
            f"{spread(each / forward)}",
        )
        for number, (each, goal) in enumerate(zip(times, (2.5, 1.3, 4.0), strict=True))
    ]


def _memory(weights: Path) -> Figure:
    code = f"from benchmarks.interactive import weigh_vgg; weigh_vgg({str(weights)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    peak, seconds = map(float, done.stdout.split())
    return Figure(
        "peak memory of a process that weighs all nine layers of VGG-19 over one image of 512 x 512",
        peak,
        " GiB",
        at_most=3,
        detail=f"18 settings at once in {seconds:.0f} s; the weights are 0.5 GiB",
    )


def weigh_vgg(weights: str) -> None:
    """Weigh the paper's nine layers, and print the largest resident set in GiB and the seconds it took.

    `getrusage` would count what the process that started this one had in memory, too.
    """
    model = load_model("vgg19", weights=Path(weights))
    pixels = np.random.default_rng(0).integers(0, 256, (1, SIZE_PX, SIZE_PX, 3), np.uint8)
    settings = [InterActiveSetting(layer, way) for layer in PAPER_LAYERS for way in ("last", "next")]
    started = time.perf_counter()
    model.weigh(pixels, settings)
    taken = time.perf_counter() - started
    [peak] = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    print(int(peak) * 1024 / GIB, taken)
