"""Searching 100,000 stored vectors by five examples, through the server, against a plain search for one of them."""

import tempfile
from pathlib import Path

import numpy as np

from benchmarks.networks import small_network
from benchmarks.report import Figure, in_turn, spread
from benchmarks.searching import fill
from whymatch.client import Client, Stored
from whymatch.client.apps.local_server import local_server
from whymatch.embed import load_named_model, normalized

COUNT = 100_000
LIKE, UNLIKE = [Stored(str(number)) for number in range(3)], [Stored(str(number)) for number in range(3, 5)]
ROUNDS = 100


def run() -> list[Figure]:
    """Measure a search by stored images."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        network = small_network(folder)
        model = load_named_model(network)
        random = np.random.default_rng(1).standard_normal((COUNT, model.dimensions))
        fill(folder / "data", model, normalized(random).astype(np.float32))
        with (
            local_server(folder / "data", "--model", network, "--log-level", "warning") as address,
            Client(address) as client,
        ):
            for match in client.search(like=LIKE, unlike=UNLIKE):
                assert abs(sum(match.shares) - match.score) < 1e-5
            plain_s, examples_s = in_turn(
                lambda: client.search(LIKE[0]), lambda: client.search(like=LIKE, unlike=UNLIKE), rounds=ROUNDS
            )
    dearer = examples_s / plain_s
    return [
        Figure(
            f"search of {COUNT:,} x {model.dimensions} by five examples, exact, over a plain search",
            float(np.median(dearer)),
            at_most=1.2,
            detail=f"stored images, through the server, with the shares: medians {np.median(examples_s) * 1000:.1f} ms "
            f"against {np.median(plain_s) * 1000:.1f} ms; {spread(dearer)}",
        )
    ]
