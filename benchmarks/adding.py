"""Adding a folder of JPEGs through the server, against the bare network and bare decoding on the same cores."""

import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from benchmarks.networks import has_bfloat16, write_untrained
from benchmarks.pictures import write_jpegs
from benchmarks.report import Figure, seconds
from whymatch.client import Client
from whymatch.client.apps.local_server import local_server
from whymatch.embed import DecodeLimits, Model, load_model
from whymatch.embed.model import DTYPES
from whymatch.embed.torchvision_models import import_models

SIZE_PX = 224
BATCH = 16
ROUNDS = 3
COUNTS = {"squeezenet1_1": 1024, "resnet50": 320}
WARM_UP = 64


def run() -> list[Figure]:
    """Measure both networks."""
    with tempfile.TemporaryDirectory() as folder:
        files = write_jpegs(Path(folder) / "jpegs", max(COUNTS.values()) + WARM_UP)
        return [figure for name in COUNTS for figure in _measure(name, files, Path(folder))]


def _measure(name: str, files: list[Path], folder: Path) -> list[Figure]:
    weights = write_untrained(name, folder)
    precision = "bfloat16" if has_bfloat16() else "float32"
    options = {"geometry": "warp", "size_px": SIZE_PX, "precision": precision}
    model = load_model(name, weights=weights, **options)
    timed = files[WARM_UP : WARM_UP + COUNTS[name]]
    arguments = ["--backbone", name, "--weights", str(weights), "--geometry", "warp"]
    arguments += ["--size-px", str(SIZE_PX), "--precision", precision, "--log-level", "warning"]
    ratios, rates = [], []
    with local_server(folder / f"data-{name}", *arguments) as address, Client(address, timeout_s=600) as client:
        _add(client, "warm-up", files[:WARM_UP])
        for number in range(ROUNDS):  # the three in turn, so that a slow spell of the machine hits all of them
            adding = _add(client, f"round-{number}", timed)
            alone = _network_alone(model, len(timed)) + _decoding_alone(model, timed)
            ratios.append(alone / adding)
            rates.append(len(timed) / adding)
    plain = _plain_eager(name)
    inputs = _inputs(model)
    ours = BATCH / _best(lambda: _forward(model, inputs))
    return [
        Figure(
            f"adding JPEGs, {name} at {SIZE_PX} px, share of what the cores allow",
            float(np.median(ratios)),
            at_least=0.9,
            detail=f"{np.median(rates):.0f} images a second, {precision}, durable, feature maps kept",
        ),
        Figure(
            f"{name} against plain eager float32 torch",
            ours / plain,
            at_least=2.5 if name == "resnet50" and precision == "bfloat16" else None,
            detail=f"{ours:.0f} against {plain:.0f} images a second, {precision}",
        ),
    ]


def _add(client: Client, gallery: str, files: list[Path]) -> float:
    client.create_gallery(gallery)
    started = time.perf_counter()
    added = list(client.add(files, gallery=gallery))
    taken = time.perf_counter() - started
    assert len(added) == len(files)
    assert not any(one.error for one in added)
    return taken


def _network_alone(model: Model, count: int) -> float:
    inputs = _inputs(model)
    return seconds(lambda: [_forward(model, inputs) for _ in range(count // BATCH)])


def _inputs(model: Model) -> torch.Tensor:
    return torch.rand(BATCH, SIZE_PX, SIZE_PX, 3).permute(0, 3, 1, 2).to(DTYPES[model.precision])


def _forward(model: Model, inputs: torch.Tensor) -> object:
    with torch.inference_mode():
        return model.trunk.module(inputs)


def _decoding_alone(model: Model, files: list[Path]) -> float:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return seconds(lambda: list(pool.map(lambda path: model.prepare(path.read_bytes(), DecodeLimits()), files)))


def _plain_eager(name: str) -> float:
    network = import_models().get_model(name, weights=None).eval()
    inputs = torch.rand(BATCH, 3, SIZE_PX, SIZE_PX)
    with torch.inference_mode():
        return BATCH / _best(lambda: network(inputs))


def _best(action: object) -> float:
    action()
    return min(seconds(action) for _ in range(5))
