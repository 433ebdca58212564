"""Adding a folder of JPEGs through the server, against the bare network and bare decoding on the same cores.

They take turns, some images at a time. Network and decoding run in processes of their own, with the better of two
settings: all threads for one batch of the network, which on busy cores takes several times longer, or one for each.
"""

import itertools
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.apart import Measure, apart
from benchmarks.networks import has_bfloat16, write_untrained
from benchmarks.pictures import write_jpegs
from benchmarks.report import Figure, in_turn, measured_in_turn, seconds, spread
from whymatch.client import Added, Client
from whymatch.client.apps.local_server import local_server
from whymatch.embed import DecodeLimits, Model, load_model
from whymatch.embed.model import DTYPES, Precision
from whymatch.embed.torchvision_models import import_models

SIZE_PX = 224
BATCH = 16
COUNTS = {"squeezenet1_1": 512, "resnet50": 128}
"""Images in a turn, of some seconds each."""
ROUNDS = 6
CORES = os.cpu_count() or 1
SETTINGS = ("all threads for a batch", "one thread for a batch")


@dataclass(frozen=True)
class Work:
    """What is added, and the network that it is added with."""

    network: str
    weights: Path
    files: list[Path]
    precision: Precision

    def load(self) -> Model:
        """Return the network."""
        return load_model(
            self.network, weights=self.weights, geometry="warp", size_px=SIZE_PX, precision=self.precision
        )

    def flags(self) -> list[str]:
        """Return the flags of a server that has the same network."""
        flags = ["--backbone", self.network, "--weights", str(self.weights), "--geometry", "warp"]
        return [*flags, "--size-px", str(SIZE_PX), "--precision", self.precision, "--log-level", "warning"]


def run() -> list[Figure]:
    """Measure both networks."""
    precision: Precision = "bfloat16" if has_bfloat16() else "float32"
    with tempfile.TemporaryDirectory() as folder:
        files = write_jpegs(Path(folder) / "jpegs", max(COUNTS.values()))
        works = [
            Work(name, write_untrained(name, Path(folder)), files[:count], precision) for name, count in COUNTS.items()
        ]
        return [figure for work in works for figure in (_share(work, Path(folder)), _against_plain(work))]


def _share(work: Work, folder: Path) -> Figure:
    with (
        local_server(folder / f"data-{work.network}", *work.flags()) as address,
        Client(address, timeout_s=600) as client,
        apart(bare, work, 1) as one_batch,
        apart(bare, work, CORES) as batch_each,
    ):
        adding, *alone = measured_in_turn(_adding(client, work.files), one_batch, batch_each, rounds=ROUNDS)
    better, setting = min(zip(alone, SETTINGS, strict=True), key=lambda one: float(np.median(one[0])))
    shares, rates = better / adding, [f"{len(work.files) / np.median(times):.0f}" for times in (adding, *alone)]
    return Figure(
        f"adding JPEGs, {work.network} at {SIZE_PX} px, share of what the cores allow",
        float(np.median(shares)),
        at_least=0.9,
        detail=f"{rates[0]} images a second, {work.precision}, durable, feature maps kept; network and decoding alone "
        f"{rates[1]} with {SETTINGS[0]}, {rates[2]} with {SETTINGS[1]}, compared with {setting}; {spread(shares)}",
    )


def _adding(client: Client, files: list[Path]) -> Measure:
    """Return what measures the seconds of adding the files to a gallery of their own."""
    numbers = itertools.count()

    def measure() -> float:
        gallery = f"round-{next(numbers)}"
        client.create_gallery(gallery)
        added: list[Added] = []
        taken = seconds(lambda: added.extend(client.add(files, gallery=gallery)))
        assert len(added) == len(files)
        assert not any(one.error for one in added)
        return taken

    return measure


def bare(work: Work, batches_at_once: int) -> Measure:
    """Measure the seconds of the network alone, and then of decoding alone, on all cores."""
    model, limits = work.load(), DecodeLimits()
    batches = [_inputs(model)] * (len(work.files) // BATCH)
    threads = (CORES // batches_at_once,)
    runners = ThreadPoolExecutor(batches_at_once, initializer=torch.set_num_threads, initargs=threads)
    decoders = ThreadPoolExecutor(CORES)

    def both() -> None:
        list(runners.map(lambda inputs: _forward(model, inputs), batches))
        list(decoders.map(lambda path: model.prepare(path.read_bytes(), limits), work.files))

    return lambda: seconds(both)


def _against_plain(work: Work) -> Figure:
    model, plain = work.load(), import_models().get_model(work.network, weights=None).eval()
    ours, theirs = _inputs(model), torch.rand(BATCH, 3, SIZE_PX, SIZE_PX)

    def run_plain() -> None:
        with torch.inference_mode():
            plain(theirs)

    slow, fast = in_turn(run_plain, lambda: _forward(model, ours), warm_up=2)
    ratios = slow / fast
    return Figure(
        f"{work.network} against plain eager float32 torch",
        float(np.median(ratios)),
        at_least=2.5 if work.network == "resnet50" and work.precision == "bfloat16" else None,
        detail=f"{BATCH / np.median(fast):.0f} against {BATCH / np.median(slow):.0f} images a second, "
        f"{work.precision}; {spread(ratios)}",
    )


def _inputs(model: Model) -> torch.Tensor:
    return torch.rand(BATCH, SIZE_PX, SIZE_PX, 3).permute(0, 3, 1, 2).to(DTYPES[model.precision])


def _forward(model: Model, inputs: torch.Tensor) -> object:
    with torch.inference_mode():
        return model.trunk.module(inputs)
