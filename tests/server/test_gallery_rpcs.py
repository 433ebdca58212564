import hashlib

import pytest
from sample_pictures import encoded, picture, png
from server_harness import failure

from whymatch.server import ServerConfig
from whymatch.v1.gallery_service_pb2 import (
    DeleteGalleryRequest,
    DeleteImageRequest,
    GetGalleryRequest,
    GetImageContentRequest,
    GetImageRequest,
    ListGalleriesRequest,
    ListImagesRequest,
)


def test_a_new_gallery_is_empty_and_of_the_servers_model(api, model):
    name = api.create("settings", index_factory="HNSW16", omit_feature_maps=True)
    gallery = api.galleries.GetGallery(GetGalleryRequest(name=name))
    assert (gallery.name, gallery.model, gallery.image_count) == ("galleries/settings", model.fingerprint, 0)
    assert (gallery.index_factory, gallery.omit_feature_maps) == ("HNSW16", True)
    assert gallery.create_time.seconds > 1.7e9


def test_a_deleted_gallery_is_gone(api, parent):
    api.galleries.DeleteGallery(DeleteGalleryRequest(name=parent))
    get = GetGalleryRequest(name=parent)
    assert failure(lambda: api.galleries.GetGallery(get)) == ("NOT_FOUND", "UNKNOWN_GALLERY")


def test_galleries_are_listed_by_name_page_by_page(api, fresh):
    mine = {fresh() for _ in range(3)}
    found, token = [], ""
    while token or not found:
        page = api.galleries.ListGalleries(ListGalleriesRequest(page_size=1, page_token=token))
        assert len(page.galleries) == 1
        found += [gallery.name for gallery in page.galleries]
        token = page.next_page_token
    assert found == sorted(found)
    assert mine <= set(found)


def test_an_image_comes_back_with_all_that_was_said_of_it(api, parent):
    content = encoded(picture(1, 40, 30), "JPEG")
    api.add(parent, {"räder 1.jpg": content}, label="wheel", metadata={"by": "Ada"})
    image = api.galleries.GetImage(GetImageRequest(name=f"{parent}/images/räder 1.jpg"))
    assert (image.name, image.label, dict(image.metadata)) == (f"{parent}/images/räder 1.jpg", "wheel", {"by": "Ada"})
    assert (image.width_px, image.height_px, image.size_bytes) == (40, 30, len(content))
    assert image.content_sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(("kind", "media_type"), [("JPEG", "image/jpeg"), ("PNG", "image/png"), ("WEBP", "image/webp")])
def test_the_content_is_exactly_what_was_added(api, parent, kind, media_type):
    content = encoded(picture(2), kind)
    api.add(parent, {"a": content})
    answer = api.galleries.GetImageContent(GetImageContentRequest(name=f"{parent}/images/a"))
    assert (answer.content, answer.content_type) == (content, media_type)


def test_images_are_listed_by_name_page_by_page(api, photos):
    first = api.galleries.ListImages(ListImagesRequest(parent=photos, page_size=7))
    rest = api.galleries.ListImages(ListImagesRequest(parent=photos, page_size=5, page_token=first.next_page_token))
    names = [image.name.rpartition("/")[2] for image in [*first.images, *rest.images]]
    assert names == sorted(f"{n}.png" for n in range(12))
    assert rest.next_page_token == ""


def test_a_deleted_image_is_gone(api, parent):
    api.add(parent, {"a": png(1), "b": png(2)})
    api.galleries.DeleteImage(DeleteImageRequest(name=f"{parent}/images/a"))
    left = api.galleries.ListImages(ListImagesRequest(parent=parent)).images
    assert [image.name for image in left] == [f"{parent}/images/b"]


@pytest.mark.parametrize(
    "name", ["", "galleries", "galleries/", "galleries/A", "images/x", "galleries/a/b", "galleries/..", "x" * 10_000]
)
def test_what_names_no_gallery_is_refused(api, name):
    assert failure(lambda: api.galleries.GetGallery(GetGalleryRequest(name=name))) == ("INVALID_ARGUMENT", "BAD_NAME")


@pytest.mark.parametrize(
    "name",
    ["", "galleries/a", "galleries/a/images", "galleries/a/images/", "galleries/a/images/..", "galleries/a/images/b/c",
     "galleries/a/images/b\n", "galleries/a/images/" + "x" * 10_000, "galleries//images/a", "x/a/images/b"],
)  # fmt: skip
def test_what_names_no_image_is_refused(api, name):
    assert failure(lambda: api.galleries.GetImage(GetImageRequest(name=name))) == ("INVALID_ARGUMENT", "BAD_NAME")


@pytest.mark.parametrize(("gallery_id", "reason"), [("A b", "BAD_NAME"), ("", "BAD_NAME"), ("x" * 64, "BAD_NAME")])
def test_a_gallery_cannot_have_every_name(api, gallery_id, reason):
    assert failure(lambda: api.create(gallery_id)) == ("INVALID_ARGUMENT", reason)


def test_a_gallery_is_made_once(api, photos):
    assert failure(lambda: api.create("photos")) == ("ALREADY_EXISTS", "GALLERY_EXISTS")


def test_an_index_that_faiss_cannot_build_is_refused(api):
    bad = failure(lambda: api.create("nonsense", index_factory="Nonsense,17"))
    assert bad == ("INVALID_ARGUMENT", "BAD_INDEX_FACTORY")


def test_what_is_not_there_is_not_found(api, photos):
    missing = f"{photos}/images/missing"
    calls = [
        lambda: api.galleries.GetImage(GetImageRequest(name=missing)),
        lambda: api.galleries.GetImageContent(GetImageContentRequest(name=missing)),
        lambda: api.galleries.DeleteImage(DeleteImageRequest(name=missing)),
    ]
    assert [failure(call) for call in calls] == [("NOT_FOUND", "UNKNOWN_IMAGE")] * 3
    assert failure(lambda: api.galleries.ListImages(ListImagesRequest(parent="galleries/no"))) == (
        "NOT_FOUND",
        "UNKNOWN_GALLERY",
    )


@pytest.mark.parametrize("token", ["!", "a", "YQ", "YQ==x", "ä", "_w==", "YR=="])
def test_a_page_token_of_nobody_is_refused(api, photos, token):
    request = ListImagesRequest(parent=photos, page_token=token)
    assert failure(lambda: api.galleries.ListImages(request)) == ("INVALID_ARGUMENT", "BAD_PAGE_TOKEN")


def test_a_negative_page_size_is_refused(api, photos):
    request = ListImagesRequest(parent=photos, page_size=-1)
    assert failure(lambda: api.galleries.ListImages(request)) == ("INVALID_ARGUMENT", "BAD_LIMIT")


def test_the_defaults_of_the_limits_are_those_of_the_model_room():
    from whymatch.embed import DecodeLimits

    config, limits = ServerConfig(), DecodeLimits()
    assert (config.max_image_bytes, config.max_image_pixels) == (limits.max_bytes, limits.max_pixels)
