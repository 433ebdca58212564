"""A server starts whatever it finds in its data directory, and says of each gallery what is wrong with it."""

import sqlite3
from pathlib import Path

import pytest
from sample_pictures import png
from server_harness import Api, api_of, failure

from whymatch.embed import Pooling, load_model
from whymatch.server import ServerConfig
from whymatch.v1.gallery_service_pb2 import GetGalleryRequest, GetImageRequest, ListGalleriesRequest
from whymatch.v1.search_service_pb2 import SearchRequest


@pytest.fixture
def data(model, tmp_path) -> Path:
    with api_of(ServerConfig(data=tmp_path, port=0), model) as api:
        for name in ("good", "damaged"):
            api.fill(name, range(3))
    return tmp_path


def database(data: Path) -> Path:
    return data / "galleries" / "damaged" / "gallery.sqlite"


def get_image(api: Api, gallery: str):
    return api.galleries.GetImage(GetImageRequest(name=f"galleries/{gallery}/images/1.png"))


def listed(api: Api) -> list[str]:
    return [gallery.name for gallery in api.galleries.ListGalleries(ListGalleriesRequest()).galleries]


def test_a_gallery_of_another_model_is_listed_but_not_searched(data):
    with api_of(ServerConfig(data=data, port=0), load_model(pooling=Pooling("max"))) as api:
        parent = "galleries/good"
        assert parent in listed(api)
        assert api.galleries.GetGallery(GetGalleryRequest(name=parent)).image_count == 3
        request = SearchRequest(parent=parent, image={"content": png(1)})
        assert failure(lambda: api.search(request)) == ("FAILED_PRECONDITION", "MODEL_MISMATCH")
        assert api.create("new") == "galleries/new"


def test_a_gallery_of_a_newer_version_is_refused_alone(data, model):
    connection = sqlite3.connect(database(data))
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with api_of(ServerConfig(data=data, port=0), model) as api:
        assert failure(lambda: get_image(api, "damaged")) == ("FAILED_PRECONDITION", "NEWER_FORMAT")
        assert get_image(api, "good").width_px == 96


def test_a_broken_gallery_is_refused_alone(data, model):
    database(data).write_bytes(b"this is no database" * 1000)
    with api_of(ServerConfig(data=data, port=0), model) as api:
        assert failure(lambda: get_image(api, "damaged")) == ("DATA_LOSS", "BROKEN_GALLERY")
        assert get_image(api, "good").width_px == 96
        assert listed(api) == ["galleries/damaged", "galleries/good"]


def test_a_broken_index_file_is_built_anew(data, model):
    (data / "galleries" / "damaged" / "index.faiss").write_bytes(b"broken")
    with api_of(ServerConfig(data=data, port=0), model) as api:
        found = api.search(SearchRequest(parent="galleries/damaged", image={"content": png(1)}))
        assert found.matches[0].image.name == "galleries/damaged/images/1.png"
