"""What prediction difference costs: against whole forward passes, the authors' loop, and searches beside it."""

import functools
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from benchmarks.networks import has_bfloat16, small_network, write_untrained
from benchmarks.pictures import write_jpegs
from benchmarks.report import Figure, in_turn, measured_in_turn, seconds, spread
from benchmarks.searching import COUNT, DIMENSIONS, fill
from whymatch.client import Client, PredictionDifferenceExplanation, Unit
from whymatch.client.apps.local_server import local_server
from whymatch.embed import (
    Alterations,
    Array,
    ClassScores,
    DecodeLimits,
    Model,
    load_model,
    load_named_model,
    normalized,
)
from whymatch.embed.model import Precision
from whymatch.embed.networks import untrained_network
from whymatch.explain import (
    ConditionalSampler,
    PredictionDifference,
    PredictionDifferenceSetting,
    class_score_target,
    fit_patches,
)

SETTING = PredictionDifferenceSetting()
NETWORKS = {
    "vgg16": (8.0, 40),
    "squeezenet1_1": (3.0, 100),
    "alexnet": (2.0, 100),
    "resnet50": (1.5, 40),
    "googlenet": (None, 100),
    "mobilenet_v2": (None, 100),
}
"""How many times faster than whole forward passes, and the altered images in a batch."""
LOOP_GOAL = 15.0
"""Against the authors' loop, VGG-16 in bfloat16."""
PAPER_EVALUATIONS = 924_500
PAPER_MINUTES = 30
"""On AlexNet, stride 1, k = 10, 20 samples."""
ROUNDS = 5
SEARCH_ROUNDS, SEARCHES = 8, 100
IMAGES = 8
"""Photographs that the sampler is fitted to, and the gallery holds that is explained from."""


def run() -> list[Figure]:
    """Measure untrained networks, and searches through a server."""
    with tempfile.TemporaryDirectory() as folder:
        figures = [figure for name in NETWORKS for figure in _speed(name, Path(folder))]
        figures += [_against_the_loop(Path(folder)), _whole_paper(Path(folder))]
    return [*figures, _search_latency()]


def _speed(name: str, folder: Path) -> list[Figure]:
    """Compare with whole forward passes of the same folded network, in batches of the same size."""
    goal, batch_size = NETWORKS[name]
    work = _Work(_untrained(name, folder), batch_size)
    batches = work.batches(4)
    whole = work.whole_images(batches[0])
    exact = work.scores_of_whole(whole)
    error = float((work.run(batches[0]) - exact).abs().max() / (exact - exact.mean(0)).abs().max())
    ours = [functools.partial(work.run, batch) for batch in batches]
    forward, *times = in_turn(lambda: work.scores_of_whole(whole), *ours, rounds=ROUNDS, warm_up=1)
    parts = np.mean(times, axis=0)
    faster, taken, each = forward / parts, np.median(forward), np.median(parts)
    share = np.mean([(work.run(batch), work.alterations.multiplied_share)[1] for batch in batches])
    return [
        Figure(
            f"prediction difference, evaluations against whole forward passes, {name}",
            float(np.median(faster)),
            " times",
            at_least=goal,
            detail=f"{batch_size / each:.0f} a second against {batch_size / taken:.0f}; {share:.0%} of the "
            f"multiplications; scores differ by {error:.0e} of their change; {spread(faster)}",
        )
    ]


def _against_the_loop(folder: Path) -> Figure:
    """Compare VGG-16 with the authors' loop: one window at a time, its samples as a batch, the whole network."""
    precision: Precision = "bfloat16" if has_bfloat16() else "float32"
    work = _Work(_untrained("vgg16", folder, precision), 40)
    plain, samples = untrained_network("vgg16").module, SETTING.sample_count
    pixels = work.whole_images(work.batches(1)[0])[:samples]
    batches = work.batches(3)

    def loop() -> None:
        with torch.inference_mode():
            plain(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255).softmax(1).mean(0)

    ours = [functools.partial(work.run, batch) for batch in batches]
    slow, *times = in_turn(loop, *ours, rounds=ROUNDS, warm_up=1)
    each, fast = slow / samples, np.mean(times, axis=0) / 40
    faster = each / fast
    return Figure(
        f"prediction difference in {precision} against the authors' loop in plain torch, vgg16",
        float(np.median(faster)),
        " times",
        at_least=LOOP_GOAL if precision == "bfloat16" else None,
        detail=f"{1 / np.median(fast):.0f} evaluations a second against {1 / np.median(each):.1f}; {spread(faster)}",
    )


def _whole_paper(folder: Path) -> Figure:
    """Measure the paper's setting on a part of its windows."""
    work = _Work(_untrained("alexnet", folder), 100, PredictionDifferenceSetting(stride_px=1))
    batches = work.batches(30)
    work.run(batches[0])
    shares: list[float] = []

    def run(batch: Batch) -> None:
        work.run(batch)
        shares.append(work.alterations.multiplied_share)

    [taken] = in_turn(lambda: [run(batch) for batch in batches], rounds=ROUNDS, warm_up=0)
    rates = len(batches) * 100 / taken
    minutes = PAPER_EVALUATIONS / rates / 60
    return Figure(
        "minutes for the paper's 924,500 evaluations on AlexNet, by the rate of 3,000 of them",
        float(np.median(minutes)),
        " min",
        at_most=PAPER_MINUTES,
        detail=f"{np.median(rates):.0f} evaluations a second, {np.mean(shares):.1%} of the multiplications of whole "
        f"passes; {spread(minutes, ' min')}, compared with nothing: whatever else runs counts",
    )


Batch = tuple[list[int], list[int], Array]
"""First rows and columns of windows, and their samples (windows, samples, k, k, 3)."""


class _Work:
    """Batches of the windows of one explanation."""

    def __init__(self, model: Model, batch_size: int, setting: PredictionDifferenceSetting = SETTING) -> None:
        with tempfile.TemporaryDirectory() as folder:
            files = write_jpegs(Path(folder), IMAGES)
            images = [model.prepare(path.read_bytes(), DecodeLimits()) for path in files]
        *_, fit = fit_patches([one.pixels for one in images], len(images), setting.context_px)
        assert fit.result
        self.model, self.image = model, images[0]
        self._sampler = ConditionalSampler(fit.result, setting.window_px, setting.seed)
        target = class_score_target(model, "top1", model.class_scores(np.stack([self.image.pixels]))[0])
        self._windows = PredictionDifference(model, self.image, [target], self._sampler, setting).windows
        self._samples = setting.sample_count
        self._size = batch_size // self._samples
        self.alterations = Alterations(model, self.image.pixels, [ClassScores()])

    def batches(self, count: int) -> list[Batch]:
        """Return batches from all over the order in which the windows come."""
        starts = np.linspace(0, len(self._windows) - self._size, count + 2).astype(int)[1:-1]
        return [self._batch(self._windows[start : start + self._size]) for start in starts]

    def _batch(self, windows: list[tuple[int, int]]) -> Batch:
        drawn = [self._sampler.draw(self.image.pixels, top, left, self._samples) for top, left in windows]
        return [top for top, _ in windows], [left for _, left in windows], np.stack(drawn)

    def whole_images(self, batch: Batch) -> Array:
        """Return the altered images of a batch, (B, h, w, 3) float32."""
        images = np.tile(self.image.pixels.astype(np.float32), (*batch[2].shape[:2], 1, 1, 1))
        for each, top, left, content in zip(images, *batch, strict=True):
            each[:, top : top + content.shape[1], left : left + content.shape[2]] = content
        return images.reshape(-1, *self.image.pixels.shape)

    @torch.inference_mode()
    def scores_of_whole(self, images: Array) -> torch.Tensor:
        """Run the same network on whole images."""
        scores: torch.Tensor = self.model.scorer(self.model.trunk.module(self.model.inputs(images)))
        return scores.float()

    def run(self, batch: Batch) -> torch.Tensor:
        """Run the network on what a batch changes."""
        [scores] = self.alterations.run(*batch)
        return scores


def _untrained(name: str, folder: Path, precision: Precision = "float32") -> Model:
    path = folder / f"{name}.safetensors"
    weights = path if path.exists() else write_untrained(name, folder)
    return load_model(name, weights=weights, geometry="warp", precision=precision)


def _search_latency() -> Figure:
    """Measure searches by vector through a server, idle and while it explains."""
    vectors = normalized(np.random.default_rng(0).standard_normal((COUNT, DIMENSIONS)).astype(np.float32))
    with tempfile.TemporaryDirectory() as folder:
        network, data = small_network(Path(folder)), Path(folder) / "data"
        fill(data, load_named_model(network), vectors)
        served = local_server(data, "--model", network, "--log-level", "warning")
        with served as address, Client(address) as client:
            photos = write_jpegs(Path(folder) / "photos", IMAGES)
            client.create_gallery("photos")
            for path in photos:
                client.add_image(path, gallery="photos")
            idle, busy = measured_in_turn(
                lambda: _median_search(client, vectors),
                lambda: _busy_search(client, vectors, address, photos[0]),
                rounds=SEARCH_ROUNDS,
            )
    slower = busy / idle
    return Figure(
        "median search of 20,000 x 512 while one explanation runs, over idle",
        float(np.median(slower)),
        " times",
        at_most=2,
        detail=f"{np.median(busy) * 1000:.2f} ms against {np.median(idle) * 1000:.2f} ms; {spread(slower)}",
    )


def _median_search(client: Client, vectors: Array) -> float:
    return float(np.median([seconds(functools.partial(client.search, query)) for query in vectors[:SEARCHES]]))


def _busy_search(client: Client, vectors: Array, address: str, photo: Path) -> float:
    with _explaining(address, photo):
        return _median_search(client, vectors)


@contextmanager
def _explaining(address: str, photo: Path) -> Iterator[None]:
    """Run one long explanation beside the block."""
    begun, over = threading.Event(), threading.Event()

    def heed(progress: PredictionDifferenceExplanation) -> None:
        if progress.evaluations:
            begun.set()
        if over.is_set():
            raise InterruptedError

    def explain() -> None:
        with Client(address, gallery="photos") as client:
            try:
                client.explain_prediction_difference(
                    photo, [Unit("features.7", 3)], stride_px=1, sample_count=100, progress=heed
                )
            except InterruptedError:
                return

    thread = threading.Thread(target=explain)
    thread.start()
    try:
        assert begun.wait(120)
        yield
    finally:
        over.set()
        thread.join()
