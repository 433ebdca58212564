"""One server for all tests that need no settings of their own, and one gallery that no test changes."""

import itertools
from collections.abc import Callable, Iterator

import pytest
from server_harness import Api, ServerThread, connected, serving

from whymatch.embed import Model
from whymatch.server import ServerConfig

names = itertools.count()


@pytest.fixture(scope="session")
def server(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerThread]:
    with serving(ServerConfig(data=tmp_path_factory.mktemp("data"), port=0), model) as server:
        yield server


@pytest.fixture(scope="session")
def api(server: ServerThread) -> Iterator[Api]:
    with connected(server) as api:
        yield api


@pytest.fixture(scope="session")
def photos(api: Api) -> str:
    """A gallery of the pictures 0 to 11. Do not change it."""
    return api.fill("photos", range(12))


@pytest.fixture(scope="session")
def lean(api: Api) -> str:
    """The same pictures without their feature maps. Do not change it."""
    return api.fill("lean", range(12), omit_feature_maps=True)


@pytest.fixture
def fresh(api: Api) -> Callable[[], str]:
    """Make an empty gallery."""
    return lambda: api.create(f"fresh{next(names)}")


@pytest.fixture
def parent(fresh: Callable[[], str]) -> str:
    """An empty gallery."""
    return fresh()
