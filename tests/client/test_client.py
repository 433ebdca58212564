import io
import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import ANY

import numpy as np
import PIL.Image
import pytest

from whymatch.client import (
    AlreadyExists,
    Box,
    Cancelled,
    Client,
    ColorScale,
    DeadlineExceeded,
    Internal,
    InvalidArgument,
    NewImage,
    NotFound,
    SimilarityMap,
    Stored,
    Unauthenticated,
    Unavailable,
    WhymatchError,
    find_images,
)

HALF = 0.5**0.5


def test_the_best_match_comes_first(colors, picture):
    result = colors.search(picture("red"))
    assert [match.name for match in result] == ["red.png", "half.png", "green.png"]
    assert [match.score for match in result] == pytest.approx([1, HALF, 0])
    assert result.model == "fake"
    assert result[0].label == "red"


def test_limit_and_labels_narrow_a_search(colors, picture):
    assert [match.name for match in colors.search(picture("red"), limit=1)] == ["red.png"]
    assert [match.name for match in colors.search(picture("red"), labels=["green"])] == ["green.png"]


def test_one_string_as_labels_is_a_mistake(colors, picture):
    with pytest.raises(TypeError, match=r"labels=\['green'\]"):
        colors.search(picture("red"), labels="green")


def test_a_search_without_maps_has_none(colors, picture):
    [match] = colors.search(picture("red"), limit=1)
    assert match.query_map is None
    assert match.match_map is None


def test_maps_say_where_and_add_up_to_the_score(colors, picture):
    match = colors.search(picture("red"), with_maps=True)[1]
    np.testing.assert_allclose(match.match_map.values, [[HALF, 0]], atol=1e-6)
    np.testing.assert_allclose(match.query_map.values, [[HALF / 2, HALF / 2]], atol=1e-6)
    assert match.match_map.values.dtype == np.float32
    assert match.match_map.total == pytest.approx(match.score)
    assert match.match_map.area == Box(0, 0, 4, 2)


def test_a_map_without_its_picture_says_how_to_get_it(colors, picture):
    [match] = colors.search(picture("red"), limit=1, with_maps=True)
    with pytest.raises(ValueError, match="overlays=True"):
        match.query_map.overlay()


def test_overlays_are_pictures_with_a_stated_scale(colors, picture):
    result = colors.search(picture("red"), limit=1, overlays=True)
    assert result[0].query_map.overlay().size == (8, 4)
    assert result.color_scale == ColorScale(0, 0.5, "inferno")


@pytest.mark.parametrize(
    "kind", ["path", "str", "bytes", "bytearray", "memoryview", "file", "picture", "stored", "embedding", "list"]
)
def test_a_query_has_many_forms(colors, save, kind):
    path = save("query.png", "lime")
    query = {
        "path": path,
        "str": str(path),
        "bytes": path.read_bytes(),
        "bytearray": bytearray(path.read_bytes()),
        "memoryview": memoryview(path.read_bytes()),
        "file": io.BytesIO(path.read_bytes()),
        "picture": PIL.Image.open(io.BytesIO(path.read_bytes())),
        "stored": Stored("green.png"),
        "embedding": np.array([0, 2, 0]),
        "list": [0.0, 2.0, 0.0],
    }[kind]
    [match] = colors.search(query, limit=1)
    assert (match.name, match.score) == ("green.png", pytest.approx(1))


def test_a_picture_is_turned_upright(colors):
    turned = PIL.Image.new("RGB", (2, 4), "red")
    turned.paste("lime", (0, 0, 2, 2))
    turned.getexif()[0x0112] = 6  # shown turned by 90 degrees clockwise: red is left, green is right
    feature_map = colors.embed(turned, with_feature_map=True).feature_map
    np.testing.assert_allclose(feature_map, [[[1, 0, 0], [0, 1, 0]]])


def test_a_cmyk_picture_is_sent_as_rgb(colors):
    cmyk = PIL.Image.new("CMYK", (4, 2), (0, 255, 255, 0))
    assert colors.embed(cmyk).embedding == pytest.approx([1, 0, 0], abs=0.01)


def test_pixels_are_no_query(colors):
    with pytest.raises(ValueError, match=r"PIL\.Image\.fromarray"):
        colors.search(np.zeros((4, 4, 3)))


def test_several_images_are_no_query(colors):
    with pytest.raises(ValueError, match="one image at a time"):
        colors.search(["red.png", "green.png"])


def test_a_file_that_is_open_for_text_is_no_image(colors, save):
    with save("query.png", "lime").open() as file, pytest.raises(TypeError, match="open it with 'rb'"):
        colors.search(file)


def test_a_stored_query_may_lie_in_another_gallery(colors, picture):
    colors.create_gallery("other")
    colors.add_image(picture("lime"), name="leaf", gallery="other")
    [match] = colors.search(Stored("leaf", gallery="other"), limit=1)
    assert match.name == "green.png"


def test_a_call_may_name_another_gallery(colors, picture):
    colors.create_gallery("other")
    colors.add_image(picture("lime"), name="leaf", gallery="other")
    assert [image.name for image in colors.list(gallery="other")] == ["leaf"]
    assert [match.name for match in colors.search(picture("red"), gallery="other")] == ["leaf"]


def test_an_explanation_has_both_maps(colors, picture):
    explanation = colors.explain_match(picture("red"), Stored("half.png"), overlays=True)
    np.testing.assert_allclose(explanation.match_map.values, [[HALF, 0]], atol=1e-6)
    assert explanation.score == pytest.approx(HALF)
    assert explanation.residual == 1e-7
    assert explanation.query_map.overlay().size == (8, 4)


def test_an_embedding_comes_with_its_feature_map_on_request(colors, picture):
    embedded = colors.embed(picture("red", "lime"), with_feature_map=True)
    np.testing.assert_allclose(embedded.embedding, [HALF, HALF, 0], rtol=1e-6)
    np.testing.assert_allclose(embedded.feature_map, [[[1, 0, 0], [0, 1, 0]]])
    assert colors.embed(Stored("red.png")).feature_map is None


def test_the_model_describes_itself(client):
    model = client.model()
    assert (model.backbone, model.dimensions, model.description) == ("halves", 3, {"size_px": 2})


def test_adding_answers_in_order_and_a_bad_image_fails_alone(client, picture, save):
    images = [NewImage(picture("red"), "a"), NewImage(b"no image", "b"), save("c.png", "lime")]
    a, b, c = client.add(images)
    assert (a.name, a.error, b.name, b.image, c.name) == ("a", None, "b", None, "c.png")
    assert isinstance(b.error, InvalidArgument)
    assert b.error.reason == "NOT_AN_IMAGE"
    assert [image.name for image in client.list()] == ["a", "c.png"]


def test_adding_again_changes_nothing_and_a_copy_is_recognized(client, picture):
    first, again, copy = client.add([NewImage(picture("red"), name) for name in ("a", "a", "b")])
    assert (first.unchanged, again.unchanged, copy.unchanged) == (False, True, False)
    assert (first.duplicate_of, copy.duplicate_of) == ("", "a")


def test_label_and_metadata_are_kept(client, picture):
    client.add_image(picture("red"), name="a", label="rot", metadata={"camera": "K7"})
    image = client.get("a")
    assert (image.name, image.label, image.metadata) == ("a", "rot", {"camera": "K7"})
    assert (image.width_px, image.height_px, image.size_bytes) == (4, 2, len(picture("red")))
    assert image.create_time == datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)


def test_adding_one_bad_image_raises(client):
    with pytest.raises(InvalidArgument, match="not an image"):
        client.add_image(b"no image", name="a")


def test_bytes_need_a_name(client, picture):
    with pytest.raises(ValueError, match="name=") as caught:
        client.add_image(picture("red"))
    assert not isinstance(caught.value, WhymatchError)


def test_a_file_that_is_missing_ends_the_stream_after_all_answers(client, save):
    answers = []
    with pytest.raises(FileNotFoundError, match=r"gone\.png"):
        answers.extend(client.add([save("a.png"), save("b.png", "lime"), "gone.png"]))
    assert [image.name for image in client.list()] == ["a.png", "b.png"]


def test_images_are_read_only_as_the_server_takes_them(client, world):
    """10 MB images to a slow server: far fewer than all are read when the first answer comes."""
    world.answer_delay_s = 0.05
    noise = PIL.Image.frombytes("RGB", (2000, 1700), os.urandom(3 * 2000 * 1700))
    file = io.BytesIO()
    noise.save(file, "BMP")
    read = []

    def images():
        for number in range(20):
            read.append(number)
            yield NewImage(file.getvalue(), str(number))

    answers = client.add(images())
    next(answers)
    assert len(read) < 10
    answers.close()


def test_a_stream_that_the_server_ends_too_early_is_an_error(client, world, picture):
    world.answers_before_end = 1
    with pytest.raises(Internal, match="without an answer"):
        list(client.add([NewImage(picture("red"), name) for name in "ab"]))


def test_stopping_early_keeps_what_was_answered(client, picture):
    answers = client.add(NewImage(picture("red"), str(number)) for number in range(1000))
    names = [next(answers).name for _ in range(3)]
    answers.close()
    assert names == ["0", "1", "2"]
    assert set(names) <= {image.name for image in client.list()}


def test_lists_run_over_all_pages(client, world, picture):
    world.page_size = 2
    list(client.add(NewImage(picture("red"), name) for name in "abcde"))
    assert "".join(image.name for image in client.list()) == "abcde"


def test_galleries_are_made_listed_and_deleted(client, world):
    made = client.create_gallery("birds", index_factory="Flat", omit_feature_maps=True)
    assert (made.name, made.index_factory, made.omit_feature_maps, made.image_count) == ("birds", "Flat", True, 0)
    assert [gallery.name for gallery in client.galleries()] == ["birds", "default"]
    client.delete_gallery("birds")
    with pytest.raises(NotFound):
        client.get_gallery("birds")


def test_content_is_exactly_what_was_added(colors, picture):
    assert colors.content("red.png") == picture("red")


def test_a_deleted_image_is_gone(colors):
    colors.delete("red.png")
    with pytest.raises(NotFound):
        colors.get("red.png")


def test_an_error_has_its_class_code_reason_and_the_servers_words(client):
    with pytest.raises(NotFound, match="no image 'galleries/default/images/x'") as caught:
        client.get("x")
    assert (caught.value.code, caught.value.reason) == ("NOT_FOUND", "UNKNOWN_IMAGE")
    with pytest.raises(AlreadyExists) as caught:
        client.create_gallery("default")
    assert caught.value.reason == "GALLERY_EXISTS"
    with pytest.raises(InvalidArgument) as caught:
        client.search(np.ones(4))
    assert caught.value.reason == "BAD_VECTOR"


def test_an_absent_server_is_named_with_the_way_to_start_one():
    with Client("127.0.0.1:1") as client, pytest.raises(Unavailable, match=r"127\.0\.0\.1:1.*whymatch serve") as caught:
        client.model()
    assert caught.value.reason == ""


def test_an_absent_server_ends_a_stream_too(picture):
    with Client("127.0.0.1:1") as client, pytest.raises(Unavailable):
        client.add_image(picture("red"), name="a")


def test_a_call_has_a_deadline(world, address, picture):
    world.galleries["default"] = {}
    world.answer_delay_s = 0.5
    with Client(address, timeout_s=0.1) as client, pytest.raises(DeadlineExceeded, match="timeout_s"):
        client.search(picture("red"))


def test_a_stream_may_last_longer_than_a_call(world, address, picture):
    world.galleries["default"] = {}
    world.answer_delay_s = 0.4
    with Client(address, timeout_s=1.5) as client:
        answers = list(client.add(NewImage(picture("red"), str(number)) for number in range(5)))
    assert len(answers) == 5


def test_a_stream_whose_answers_stop_is_given_up(world, address, picture):
    world.galleries["default"] = {}
    world.answer_delay_s = 2
    with Client(address, timeout_s=1) as client, pytest.raises(DeadlineExceeded, match=r"\b1 s"):
        client.add_image(picture("red"), name="a")


def test_a_slow_source_and_a_slow_reader_are_no_stall(world, address, picture):
    world.galleries["default"] = {}

    def images():
        for number in range(2):
            time.sleep(1.2)
            yield NewImage(picture("red"), str(number))

    with Client(address, timeout_s=0.8) as client:
        for _ in client.add(images()):
            time.sleep(1.2)
    assert len(world.galleries["default"]) == 2


def test_the_token_goes_with_every_call(world, address, picture):
    world.token = "secret"
    with Client(address) as client, pytest.raises(Unauthenticated) as caught:
        client.model()
    assert caught.value.reason == "UNAUTHENTICATED"
    with Client(address, token="secret") as client:
        client.create_gallery("default")
        client.add_image(picture("red"), name="a")
        assert client.get("a").name == "a"


def test_a_certificate_needs_its_key():
    with pytest.raises(ValueError, match="belong together"):
        Client(client_certificate=Path("cert.pem"))


def test_the_share_of_a_map_in_a_box_of_whole_cells():
    values = np.array([[1, -1, 0], [2, 5, 0]], np.float32)
    one = SimilarityMap(values, 7.0, 32, 20, Box(1, 0, 31, 20), None)
    shares = [one.share_in(box) for box in (Box(1, 0, 11, 20), Box(11, 10, 31, 20), one.area, Box(21, 0, 31, 20))]
    assert shares == [3 / 8, 5 / 8, 1, 0]
    assert SimilarityMap(-values * 0, 0.0, 32, 20, one.area, None).share_in(one.area) == 0


def test_the_time_limit_of_a_client_can_be_changed(address, world, picture):
    world.galleries["default"] = {}
    world.answer_delay_s = 2
    with Client(address) as client:
        client.timeout_s = 0.1
        assert client.timeout_s == 0.1
        with pytest.raises(DeadlineExceeded):
            client.search(picture("red"))


@pytest.mark.parametrize("overlays", [0, -5, "big", 2.5])
def test_pictures_have_a_size_in_pixels(colors, overlays, picture):
    with pytest.raises(ValueError, match="longer side"):
        colors.search(picture("red"), overlays=overlays)


def test_images_of_folders_are_found_and_added_in_one_line(client, save):
    folder = save("photos/cats/a.JFIF").parent.parent
    (folder / "notes.txt").touch()
    added = list(client.add(find_images([folder], labels_from_folders=True)))
    assert [(one.name, one.image.label) for one in added] == [("cats~a.JFIF", "cats")]
    assert [one.name for one in client.add(find_images(str(folder / "cats"), label="tom"))] == ["a.JFIF"]


def test_a_gallery_that_exists_is_returned_on_request(client, picture):
    client.add_image(picture("red"), name="a.png")
    assert client.create_gallery("default", exist_ok=True).image_count == 1
    assert client.create_gallery("new", exist_ok=True).image_count == 0
    with pytest.raises(AlreadyExists):
        client.create_gallery("new")


@pytest.mark.parametrize("image", ["cat.jpg", Path("cat.jpg"), b"bytes", NewImage("cat.jpg")])
def test_adding_one_image_as_several_says_what_to_write(client, image):
    with pytest.raises(TypeError, match=r"write add\(\[.*\]\) or add_image\(.*\) for one image, and add\(find_images"):
        client.add(image)


def test_adding_no_images_at_all_says_so(client, picture):
    with pytest.raises(TypeError, match=r"several images, not Image; write add\(\[image\]\)"):
        client.add(PIL.Image.new("RGB", (1, 1)))
    with pytest.raises(TypeError, match="several images, not NoneType"):
        client.add(None)


def test_adding_a_folder_says_what_to_write(client, tmp_path):
    with pytest.raises(ValueError, match=r"is a folder; write client\.add\(find_images\(\["):
        list(client.add([tmp_path]))


def test_a_file_that_is_too_large_for_grpc_is_not_read(client, tmp_path):
    with (tmp_path / "a.tif").open("wb") as file:
        file.truncate(2_300_000_000)
    with pytest.raises(OSError, match="the file has 2300000000 bytes; no more than 2146435072 can be sent"):
        client.search(tmp_path / "a.tif")


def test_an_open_file_is_added_under_its_own_name(client, save):
    with save("cat.png", "red").open("rb") as file:
        assert client.add_image(file).name == "cat.png"


def test_images_that_nobody_asked_about_are_missed(client, save):
    with pytest.warns(RuntimeWarning, match="nothing was added: iterate"):
        client.add([save("cat.png", "red")])
    assert list(client.list()) == []


@pytest.mark.parametrize(("value", "error"), [([1], TypeError), (None, TypeError), (2**53 + 1, ValueError)])
def test_metadata_are_texts_numbers_and_booleans(client, picture, value, error):
    given = {"year": 2024, "share": 0.5, "draft": True, "by": "me"}
    assert client.add_image(picture("red"), name="a", metadata=given).image.metadata == given
    with pytest.raises(error, match="'year' is"):
        client.add_image(picture("red"), name="b", metadata={"year": value})


def test_names_are_given_one_at_a_time(colors):
    with pytest.raises(TypeError, match=r"one image is a text, not \['red.png'\]; call once"):
        colors.get(["red.png"])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda client: client.get("galleries/a/images/b"), "here it is 'b' with gallery='a'"),
        (lambda client: client.search(Stored("galleries/a/images/b")), "here it is 'b' with gallery='a'"),
        (lambda client: client.get_gallery("galleries/a"), "here it is 'a'"),
    ],
)
def test_names_of_the_api_are_refused_with_the_short_ones(client, call, said):
    with pytest.raises(ValueError, match=said):
        call(client)


def test_a_gallery_without_a_name_is_the_clients_own(client):
    client.gallery = "mine"
    assert client.create_gallery(exist_ok=True).name == "mine"


def test_a_client_says_where_it_is(client):
    assert repr(client) == f"Client({client.address!r}, gallery={client.gallery!r})"


def test_a_single_call_may_have_a_deadline_of_its_own(world, colors, picture):
    world.answer_delay_s = 0.5
    with pytest.raises(DeadlineExceeded):
        colors.with_timeout(0.1).search(picture("red"))
    assert len(colors.search(picture("red"))) == 3


def test_a_client_with_another_deadline_is_closed_together_with_the_first(client):
    other = client.with_timeout(5)
    other.close()
    with pytest.raises(Cancelled, match="the client is closed"):
        client.model()


def test_results_are_short_to_read_and_become_json(colors, picture):
    result = colors.search(picture("red"), limit=1, overlays=True)
    assert "matches=(Match('red.png', label='red', score=1.0000),)" in repr(result)
    assert "values=array(shape=(1, 2), sum=1)" in repr(result[0].match_map)
    document = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert document["matches"][0]["match_map"]["values"] == result[0].match_map.values.tolist()
    assert datetime.fromisoformat(document["matches"][0]["image"]["create_time"]).tzinfo is UTC
    assert "overlay_png" not in document["matches"][0]["match_map"]


def test_images_are_equal_and_hashable_by_value(colors):
    first, again = colors.get("red.png"), colors.get("red.png")
    assert first == again
    assert len({first, again}) == 1


def test_a_failed_image_becomes_json(client):
    [added] = client.add([NewImage(b"no image", name="bad.png")])
    assert added.to_dict()["error"] == {"code": "INVALID_ARGUMENT", "reason": "NOT_AN_IMAGE", "message": ANY}
