"""Images that change, labels, filters and generations, through a channel."""

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.struct_pb2 import Struct
from sample_pictures import png
from server_harness import failure

from whymatch.v1 import gallery_service_pb2 as pb


def struct(**values):
    made = Struct()
    made.update(values)
    return made


def names(images):
    return [image.name.rpartition("/")[2] for image in images]


@pytest.fixture
def three(api, parent):
    """A gallery of three images: two cats and a dog."""
    api.add(parent, {"a": png(1), "b": png(2)}, label="cat", metadata={"year": 2020, "draft": True})
    api.add(parent, {"c": png(3)}, label="dog", metadata={"year": 2021.5})
    return parent


def update(api, name, paths=(), label="", **metadata):
    image = pb.Image(name=name, label=label, metadata=struct(**metadata))
    return api.galleries.UpdateImage(pb.UpdateImageRequest(image=image, update_mask=FieldMask(paths=paths)))


def test_an_image_added_alone_is_answered_alone(api, parent):
    request = pb.AddImageRequest(parent=parent, image_id="a", content=png(1), label="x", metadata=struct(year=2020))
    added = api.galleries.AddImage(request)
    assert (added.image.name, added.image.label, dict(added.image.metadata)) == (
        f"{parent}/images/a",
        "x",
        {"year": 2020},
    )
    assert api.galleries.AddImage(request).unchanged
    request.content = png(2)
    assert failure(lambda: api.galleries.AddImage(request)) == ("ALREADY_EXISTS", "IMAGE_EXISTS")
    request.replace = True
    assert api.galleries.AddImage(request).replaced
    request.content = b"no image"
    assert failure(lambda: api.galleries.AddImage(request)) == ("INVALID_ARGUMENT", "NOT_AN_IMAGE")


def test_bytes_that_are_stored_are_not_embedded_again(api, three, embedder, monkeypatch):
    request = pb.AddImageRequest(parent=three, image_id="a", content=png(1), label="other", replace=True)
    monkeypatch.setattr("whymatch.embed.Embedder.submit", lambda *_, **__: pytest.fail("it is embedded"))
    added = api.galleries.AddImage(request)
    assert (added.image.label, added.replaced, added.duplicate_of) == ("other", True, "")
    request.image_id = "twin"
    assert api.galleries.AddImage(request).duplicate_of == "a"


def test_the_mask_says_what_changes(api, three):
    name = f"{three}/images/a"
    assert update(api, name, ["label"], "lynx", year=1).label == "lynx"
    assert dict(api.galleries.GetImage(pb.GetImageRequest(name=name)).metadata) == {"year": 2020, "draft": True}
    assert dict(update(api, name, ["metadata.year", "metadata.draft"], year=2022).metadata) == {"year": 2022}
    changed = update(api, name, ["metadata"], shop="x")
    assert (changed.label, dict(changed.metadata)) == ("lynx", {"shop": "x"})
    cleared = update(api, name)
    assert (cleared.label, dict(cleared.metadata)) == ("", {})
    assert cleared.update_time.ToNanoseconds() > cleared.create_time.ToNanoseconds()


@pytest.mark.parametrize(
    ("paths", "metadata", "reason"),
    [
        (["name"], {}, "BAD_REQUEST"),
        (["labels"], {}, "BAD_REQUEST"),
        (["metadata"], {"list": [1]}, "BAD_REQUEST"),
        (["metadata"], {"none": None}, "BAD_REQUEST"),
        (["metadata"], {"much": "x" * 20_000}, "BAD_REQUEST"),
    ],
)
def test_updates_that_cannot_be_are_refused(api, three, paths, metadata, reason):
    assert failure(lambda: update(api, f"{three}/images/a", paths, **metadata)) == ("INVALID_ARGUMENT", reason)


def test_an_image_that_is_gone_cannot_be_changed(api, three):
    api.galleries.DeleteImage(pb.DeleteImageRequest(name=f"{three}/images/a"))
    assert failure(lambda: update(api, f"{three}/images/a")) == ("NOT_FOUND", "UNKNOWN_IMAGE")


def test_several_images_come_in_the_order_of_their_names(api, three):
    wanted = [f"{three}/images/{name}" for name in "cab"]
    answer = api.galleries.BatchGetImages(pb.BatchGetImagesRequest(parent=three, names=wanted))
    assert names(answer.images) == ["c", "a", "b"]
    wanted.append(f"{three}/images/q")
    request = pb.BatchGetImagesRequest(parent=three, names=wanted)
    assert failure(lambda: api.galleries.BatchGetImages(request)) == ("NOT_FOUND", "UNKNOWN_IMAGE")


def test_a_filter_lists_and_counts(api, three):
    for text, found in (
        ("", "abc"),
        ("label = cat AND metadata.draft = true", "ab"),
        ("metadata.year > 2020.5", "c"),
        ('NOT name = "b"', "ac"),
    ):
        listed = api.galleries.ListImages(pb.ListImagesRequest(parent=three, filter=text))
        assert names(listed.images) == list(found)
    counted = api.galleries.ListLabels(pb.ListLabelsRequest(parent=three, filter='name != "a"'))
    assert [(one.label, one.count) for one in counted.labels] == [("cat", 1), ("dog", 1)]
    wrong = pb.ListImagesRequest(parent=three, filter="color = red")
    assert failure(lambda: api.galleries.ListImages(wrong)) == ("INVALID_ARGUMENT", "BAD_FILTER")


def test_several_images_go_by_name_or_by_filter(api, three):
    deleting = pb.DeleteImagesRequest(parent=three, names=[f"{three}/images/a", f"{three}/images/q"])
    assert failure(lambda: api.galleries.DeleteImages(deleting)) == ("NOT_FOUND", "UNKNOWN_IMAGE")
    assert api.galleries.DeleteImages(pb.DeleteImagesRequest(parent=three, filter="label = cat")).deleted_count == 2
    assert names(api.galleries.ListImages(pb.ListImagesRequest(parent=three)).images) == ["c"]
    neither = pb.DeleteImagesRequest(parent=three)
    assert failure(lambda: api.galleries.DeleteImages(neither)) == ("INVALID_ARGUMENT", "BAD_REQUEST")


def test_a_gallery_can_be_read_as_it_was(api, three):
    generation = api.galleries.GetGallery(pb.GetGalleryRequest(name=three)).generation
    update(api, f"{three}/images/a", ["label"], "lynx")
    api.galleries.DeleteImages(pb.DeleteImagesRequest(parent=three, names=[f"{three}/images/b"]))
    then = api.galleries.ListImages(pb.ListImagesRequest(parent=three, at_generation=generation))
    assert [(one.name[-1], one.label) for one in then.images] == [("a", "cat"), ("b", "cat"), ("c", "dog")]
    content = api.galleries.GetImageContent(
        pb.GetImageContentRequest(name=f"{three}/images/b", at_generation=generation)
    )
    assert content.content == png(2)
    never = pb.GetImageRequest(name=f"{three}/images/a", at_generation=99)
    assert failure(lambda: api.galleries.GetImage(never)) == ("NOT_FOUND", "UNKNOWN_GENERATION")


def test_generations_are_listed_named_and_purged(api, three):
    api.galleries.TagGeneration(pb.TagGenerationRequest(parent=three, tag="audited"))
    update(api, f"{three}/images/a", ["label"], "lynx")
    listed = api.galleries.ListGenerations(pb.ListGenerationsRequest(parent=three, page_size=2))
    assert [(one.change, list(one.tags)) for one in listed.generations] == [("update", []), ("add", ["audited"])]
    rest = pb.ListGenerationsRequest(parent=three, page_token=listed.next_page_token)
    assert api.galleries.ListGenerations(rest).generations[-1].change == "create"
    newest = listed.generations[0].number
    purge = pb.PurgeGalleryRequest(name=three, before_generation=newest)
    assert failure(lambda: api.galleries.PurgeGallery(purge)) == ("FAILED_PRECONDITION", "TAGGED_GENERATION")
    again = pb.TagGenerationRequest(parent=three, tag="audited", generation=newest)
    assert failure(lambda: api.galleries.TagGeneration(again)) == ("ALREADY_EXISTS", "TAG_EXISTS")
    api.galleries.DeleteTag(pb.DeleteTagRequest(parent=three, tag="audited"))
    assert api.galleries.PurgeGallery(purge).gallery.oldest_generation == newest
    tag = pb.DeleteTagRequest(parent=three, tag="audited")
    assert failure(lambda: api.galleries.DeleteTag(tag)) == ("NOT_FOUND", "UNKNOWN_TAG")


def test_an_erased_image_is_gone_with_its_copies(api, three):
    api.add(three, {"copy": png(1)})
    erased = api.galleries.EraseImages(pb.EraseImagesRequest(parent=three, names=[f"{three}/images/a"]))
    assert names(pb.Image(name=name) for name in erased.names) == ["a", "copy"]
    generation = api.galleries.GetGallery(pb.GetGalleryRequest(name=three)).generation
    then = api.galleries.ListImages(pb.ListImagesRequest(parent=three, at_generation=generation - 1))
    assert names(then.images) == ["b", "c"]
