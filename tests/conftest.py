"""What all tests share: a model, small pictures with known content, and the photographs where they are present."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from examples import FUZZING, examples
from hypothesis import HealthCheck, settings
from small_weights import WEIGHTS

from whymatch.embed import Embedder, Features, Model, load_model

SHARED = Path(__file__).parents[2] / "shared" / "data"
COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}  # speed is no test
settings.register_profile("tests", derandomize=True, **COMMON)
settings.register_profile("fuzz", max_examples=examples(100), print_blob=True, **COMMON)
settings.load_profile("fuzz" if FUZZING else "tests")
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it, as would our commands


@pytest.fixture(scope="session")
def model() -> Model:
    return load_model(weights=WEIGHTS)


@pytest.fixture(scope="session")
def embedder(model: Model) -> Iterator[Embedder]:
    embedder = Embedder(model)
    yield embedder
    embedder.close()


@pytest.fixture(scope="session")
def embed(embedder: Embedder) -> Callable[[bytes], Features]:
    return lambda content: embedder.submit(content, urgent=True).result()


@pytest.fixture
def shared() -> Path:
    """The folder of real photographs and weights."""
    if not SHARED.is_dir():
        pytest.skip("the shared photographs and weights are not beside this checkout")
    return SHARED
