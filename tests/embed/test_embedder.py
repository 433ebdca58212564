import os
import threading
from concurrent.futures import CancelledError
from dataclasses import replace

import pytest
from sample_pictures import png
from small_weights import DIMENSIONS
from torch import nn

from whymatch.embed import BrokenImage, Embedder, NotAnImage


class Gate(nn.Module):
    """A network that waits until it may go on, and counts its batches."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.open = threading.Event()
        self.entered = threading.Event()
        self.batches: list[int] = []

    def forward(self, inputs):
        self.batches.append(len(inputs))
        self.entered.set()
        self.open.wait()
        return self.network(inputs)


@pytest.fixture
def gate(model):
    return Gate(model.trunk.module)


@pytest.fixture
def gated(model, gate):
    embedder = Embedder(replace(model, trunk=replace(model.trunk, module=gate)), batch_size=4)
    yield embedder
    gate.open.set()
    embedder.close()


def test_images_of_one_shape_share_a_batch(gated, gate):
    first = gated.submit(png(0), urgent=True)
    gate.entered.wait()
    others = [gated.submit(png(seed)) for seed in range(8)]
    gate.open.set()
    for future in [first, *others]:
        future.result()
    assert sum(gate.batches) == 9
    assert max(gate.batches) == 4
    assert len(gate.batches) <= 4


def test_an_urgent_image_goes_before_those_that_wait(gated, gate):
    order: list[str] = []
    gated.submit(png(0), urgent=True)
    gate.entered.wait()
    waiting = [gated.submit(png(seed)) for seed in range(1, 9)]
    for future in waiting:
        future.add_done_callback(lambda _: order.append("waiting"))
    urgent = gated.submit(png(9, 64, 96), urgent=True)
    urgent.add_done_callback(lambda _: order.append("urgent"))
    while gated._decoding:
        threading.Event().wait(0.01)
    gate.open.set()
    for future in [*waiting, urgent]:
        future.result()
    assert order[0] == "urgent"


def test_no_image_waits_for_ever_while_others_are_urgent(gated, gate):
    gated.submit(png(0), urgent=True)
    gate.entered.wait()
    patient = gated.submit(png(1, 64, 96))
    while gated._decoding:
        threading.Event().wait(0.01)
    urgent = [gated.submit(png(seed), urgent=True) for seed in range(2, 70)]
    order: list[str] = []
    patient.add_done_callback(lambda _: order.append("patient"))
    urgent[-1].add_done_callback(lambda _: order.append("the last urgent one"))
    while gated._decoding:
        threading.Event().wait(0.01)
    gate.open.set()
    patient.result()
    urgent[-1].result()
    assert order == ["patient", "the last urgent one"]


def test_a_cancelled_image_is_not_embedded(gated, gate):
    gated.submit(png(0), urgent=True)
    gate.entered.wait()
    dropped = [gated.submit(png(seed)) for seed in range(1, 4)]
    assert all(future.cancel() for future in dropped)
    gate.open.set()
    gated.close()
    assert sum(gate.batches) == 1
    with pytest.raises(CancelledError):
        dropped[0].result()


def test_a_bad_image_fails_alone(embedder):
    good, bad, worse = embedder.submit(png(1)), embedder.submit(png(1)[:200]), embedder.submit(b"?")
    assert good.result().embedding.shape == (DIMENSIONS,)
    with pytest.raises(BrokenImage):
        bad.result()
    with pytest.raises(NotAnImage):
        worse.result()


def test_a_failing_network_fails_its_batch_and_the_next_one_runs(model):
    class Flaky(nn.Module):
        calls = 0

        def forward(self, inputs):
            Flaky.calls += 1
            if Flaky.calls == 1:
                raise RuntimeError("out of memory")
            return model.trunk.module(inputs)

    embedder = Embedder(replace(model, trunk=replace(model.trunk, module=Flaky())))
    with pytest.raises(RuntimeError, match="out of memory"):
        embedder.submit(png(1)).result()
    assert embedder.submit(png(1)).result().pooled.shape == (DIMENSIONS,)
    embedder.close()


def test_close_finishes_what_was_submitted(model):
    embedder = Embedder(model)
    futures = [embedder.submit(png(seed)) for seed in range(5)]
    embedder.close()
    assert all(future.done() for future in futures)
    with pytest.raises(RuntimeError, match="closed"):
        embedder.submit(png(1))


def test_a_priority_that_cannot_be_set_is_gone_without(model, monkeypatch):
    def refuse(*_: int) -> None:
        raise ProcessLookupError(3, "No such process")

    monkeypatch.setattr(os, "setpriority", refuse)
    embedder = Embedder(model, decoders=1)
    for seed in range(2):
        assert embedder.submit(png(seed), urgent=True).result(30).embedding.shape == (DIMENSIONS,)
    embedder.close()
