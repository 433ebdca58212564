import asyncio
import time

import grpc
import pytest
from sample_pictures import png
from server_harness import Sender, eventually, failure

from whymatch.index import Galleries, StorageFull
from whymatch.server.ingest import MAX_IMAGES, Adding, Arrival
from whymatch.v1.errors_pb2 import ERROR_REASON_BAD_NAME, ERROR_REASON_IMAGE_EXISTS, ERROR_REASON_NOT_AN_IMAGE
from whymatch.v1.gallery_service_pb2 import AddImagesRequest, GetGalleryRequest


def request(name: str, content: bytes, parent: str = "", **facts: object) -> AddImagesRequest:
    return AddImagesRequest(parent=parent, image_id=name, content=content, **facts)


def test_answers_come_in_the_order_of_the_images_and_a_bad_one_fails_alone(api, parent):
    images = {f"{n}": png(n, 64 + 16 * (n % 5), 64) for n in range(100)} | {"50": b"no image"}
    answers = api.add(parent, images)
    assert [answer.image_id for answer in answers] == list(images)
    assert [answer.image_id for answer in answers if answer.HasField("error")] == ["50"]
    error = answers[50].error
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT.value[0], ERROR_REASON_NOT_AN_IMAGE)
    assert api.galleries.GetGallery(GetGalleryRequest(name=parent)).image_count == 99


def test_an_image_is_answered_before_the_next_is_sent(api, parent):
    sender = Sender()
    answers = api.galleries.AddImages(sender, timeout=30)
    for n in range(3):
        sender.send(request(f"{n}", png(n), parent))
        assert next(answers).image.name == f"{parent}/images/{n}"
    sender.end()
    assert list(answers) == []


def test_the_same_again_changes_nothing_and_another_image_of_that_name_is_refused(api, parent):
    api.add(parent, {"a": png(1)}, label="x")
    (same,) = api.add(parent, {"a": png(1)}, label="x")
    (other,) = api.add(parent, {"a": png(2)}, label="x")
    assert (same.unchanged, same.image.label) == (True, "x")
    assert other.error.reason == ERROR_REASON_IMAGE_EXISTS


def test_a_copy_says_what_it_is_a_copy_of(api, parent):
    first, second = api.add(parent, {"a": png(1), "b": png(1)})
    assert (first.duplicate_of, second.duplicate_of) == ("", "a")


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\\b", "a\x00", "x" * 10_000])
def test_a_bad_name_fails_alone(api, parent, name):
    bad, good = api.add(parent, {name: png(1), "good": png(1)})
    assert bad.error.reason == ERROR_REASON_BAD_NAME
    assert good.HasField("image")


def test_the_parent_may_be_said_once(api, parent):
    requests = [request("a", png(1), parent), request("b", png(2))]
    assert len(list(api.galleries.AddImages(iter(requests)))) == 2


def test_the_parent_must_be_said(api):
    assert failure(lambda: list(api.galleries.AddImages(iter([request("a", png(1))])))) == (
        "INVALID_ARGUMENT",
        "BAD_REQUEST",
    )


def test_the_parent_must_not_change_and_what_came_before_is_answered(api, parent, photos):
    requests = [request("a", png(1), parent), request("b", png(2), photos)]
    answers = api.galleries.AddImages(iter(requests))
    assert next(answers).image.name == f"{parent}/images/a"
    assert failure(lambda: next(answers)) == ("INVALID_ARGUMENT", "BAD_REQUEST")


def test_an_unknown_gallery_is_not_found(api):
    unknown = iter([request("a", png(1), "galleries/unknown")])
    assert failure(lambda: list(api.galleries.AddImages(unknown))) == ("NOT_FOUND", "UNKNOWN_GALLERY")


def test_an_empty_stream_is_fine(api):
    assert list(api.galleries.AddImages(iter([]))) == []


def test_a_cancelled_stream_keeps_what_it_acknowledged_and_soon_stops(api, parent):
    answers = api.galleries.AddImages(request(f"{n}", png(n), parent) for n in range(2000))
    for _ in range(5):
        next(answers)
    answers.cancel()
    counts = [-1, 0]

    def counts_in_a_while() -> list[int]:
        time.sleep(0.5)
        counts[:] = counts[1], api.galleries.GetGallery(GetGalleryRequest(name=parent)).image_count
        return counts

    eventually(counts_in_a_while, lambda found: found[0] == found[1] > 0)
    assert 5 <= counts[1] < 5 + 3 * MAX_IMAGES


def test_a_stream_reads_no_further_ahead_than_its_bounds(model, embedder, tmp_path):
    read = 0

    async def endless():
        nonlocal read
        while True:
            read += 1
            yield Arrival(f"{read}", png(1, 32, 32), "", {})

    async def first_results() -> int:
        results = Adding(galleries.create("g"), embedder).results(endless())
        group = await anext(results)
        await asyncio.sleep(0.3)  # nobody takes the next results
        await results.aclose()
        return len(group)

    with Galleries(tmp_path, model) as galleries:
        taken = asyncio.run(first_results())
    assert read <= MAX_IMAGES + taken + 1


def test_a_full_disk_ends_the_stream(model, embedder):
    class FullGallery:
        def unchanged(self, *facts):
            return None

        def features_by_hash(self, digest):
            return None

        def add(self, images):
            raise StorageFull("the disk is full")

    async def one():
        yield Arrival("a", png(1), "", {})

    async def add():
        return [group async for group in Adding(FullGallery(), embedder).results(one())]

    with pytest.raises(StorageFull):
        asyncio.run(add())
