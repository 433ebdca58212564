"""The samplers of prediction difference: made of a gallery's images, and the normal distribution kept with them."""

import dataclasses
from pathlib import Path

import grpc
import numpy as np
import pytest
from sample_pictures import encoded, picture, png
from server_harness import connected, failure, serving, total_of
from small_networks import small

from whymatch.embed import DecodeLimits, Geometry, LayerMaps, TooFewImages
from whymatch.explain import PatchNormal
from whymatch.index import Galleries, NewImage
from whymatch.server import ServerConfig, patch_samplers
from whymatch.server.difference_values import SamplerSource
from whymatch.server.patch_samplers import make_sampler
from whymatch.server.wire.requests_difference import difference_request
from whymatch.v1 import explain_service_pb2 as pb
from whymatch.v1.gallery_service_pb2 import DeleteGalleryRequest

K, CONTEXT = 4, 6
LIMITS = DecodeLimits()
SIZE = (40, 24)
"""Of the network's input for an image of 96 x 64."""


def request(**rest: object) -> pb.ExplainPredictionDifferenceRequest:
    given = {"parent": "galleries/g", "image": {"content": png(50)}, "targets": [{"unit": {"layer": "conv2"}}]}
    setting = {"window_px": K, "context_px": CONTEXT, "sample_count": 2, "stride_px": K}
    return pb.ExplainPredictionDifferenceRequest(**given | setting | rest)


@pytest.fixture(scope="module")
def small_model():
    return dataclasses.replace(small(), geometry=Geometry("keep", 32, 8, 16))


@pytest.fixture
def galleries(tmp_path, small_model):
    with Galleries(tmp_path, small_model) as galleries:
        yield galleries


@pytest.fixture
def fill(galleries, small_model):
    """Put some pictures into the gallery g."""

    def fill(numbers):
        gallery = galleries.create("g") if "g" not in {one.name for one in galleries.list_galleries()} else None
        gallery = gallery or galleries.open("g")
        [*features] = (small_model.features([small_model.prepare(png(n), LIMITS)])[0] for n in numbers)
        gallery.add([NewImage(f"{n}.png", png(n), one) for n, one in zip(numbers, features, strict=True)])
        return gallery

    return fill


def making(gallery, model, *, content=b"", size=SIZE, **rest):
    """Make a sampler and return all that is said on the way."""
    return list(make_sampler(gallery, model, LIMITS, difference_request(request(**rest)), content, size))


def kept(gallery) -> Path:
    return gallery.derived_file(f"patches-{CONTEXT}.npz")


def draw(one, number: int = 3):
    return one.result.sampler.draw(np.asarray(picture(number, *SIZE)), 2, 5, number)


# The normal distribution of patches


def test_the_normal_distribution_is_fitted_once_and_kept(fill, small_model):
    gallery = fill(range(12))
    first = making(gallery, small_model, seed=1)
    assert [(one.done, one.total) for one in first] == [*((n, 12) for n in range(1, 13)), (12, 12)]
    assert [one.result is None for one in first] == [True] * 12 + [False]
    assert (first[-1].result.source.image_count, first[-1].result.sampler.kind) == (12, "conditional")
    normal = PatchNormal.load(kept(gallery))
    assert (normal.context_px, normal.image_count, normal.patch_count) == (
        CONTEXT,
        12,
        first[-1].result.source.patch_count,
    )
    [second] = making(gallery, small_model, seed=1)
    np.testing.assert_array_equal(draw(second), draw(first[-1]))
    [other] = making(gallery, small_model, seed=2)
    assert not np.array_equal(draw(other), draw(second))
    [mean] = making(gallery, small_model, sampler="mean")
    assert (mean.result.sampler.kind, mean.result.source.patch_count) == ("mean", second.result.source.patch_count)
    np.testing.assert_array_equal(draw(mean)[0], draw(mean)[1])


def test_each_context_has_a_distribution_of_its_own(fill, small_model):
    gallery = fill(range(12))
    making(gallery, small_model)
    assert len(making(gallery, small_model, context_px=5)) == 13
    assert len(making(gallery, small_model)) == len(making(gallery, small_model, context_px=5)) == 1
    assert {path.name for path in kept(gallery).parent.glob("patches-*")} == {"patches-5.npz", "patches-6.npz"}


def test_the_distribution_is_fitted_anew_on_request(fill, small_model):
    gallery = fill(range(10))
    before = making(gallery, small_model)[-1]
    fill(range(10, 15))
    [old] = making(gallery, small_model)
    assert old.result.source.image_count == 10
    np.testing.assert_array_equal(draw(old), draw(before))
    *_, new = making(gallery, small_model, refit_sampler=True)
    assert new.result.source.image_count == 15
    assert not np.array_equal(draw(new), draw(old))
    [after] = making(gallery, small_model)
    np.testing.assert_array_equal(draw(after), draw(new))


@pytest.mark.parametrize("damage", [b"", b"no file of arrays", None], ids=["empty", "other", "bits"])
def test_a_broken_file_is_made_again(fill, small_model, damage, caplog):
    gallery = fill(range(12))
    whole = making(gallery, small_model)[-1]
    content = kept(gallery).read_bytes()
    kept(gallery).write_bytes(content[:50_000] + b"damage" + content[50_006:] if damage is None else damage)
    *_, mended = making(gallery, small_model)
    np.testing.assert_array_equal(draw(mended), draw(whole))
    assert "patches-6.npz is broken and is made again" in caplog.text
    assert len(making(gallery, small_model)) == 1


def test_a_distribution_that_cannot_be_kept_is_used_all_the_same(fill, small_model, caplog):
    gallery = fill(range(12))
    kept(gallery).with_name("patches-6.npz.unfinished").mkdir()  # where it would be written
    assert making(gallery, small_model)[-1].result.source.image_count == 12
    assert "the patches of gallery 'g' cannot be kept and will be fitted again" in caplog.text
    assert not kept(gallery).exists()


def test_of_a_large_gallery_some_images_are_drawn(fill, small_model, monkeypatch):
    monkeypatch.setattr(patch_samplers, "FIT_IMAGES", 9)
    monkeypatch.setattr(patch_samplers, "MARGINAL_IMAGES", 3)
    gallery = fill(range(12))
    last = making(gallery, small_model)[-1]
    assert (last.result.source.image_count, last.total) == (9, 9)
    assert making(gallery, small_model, sampler="marginal")[-1].result.source.image_count == 3


def test_an_image_that_is_deleted_meanwhile_is_passed_over(fill, small_model):
    for sampler in ("conditional", "marginal"):
        gallery = fill(range(12))
        steps = make_sampler(gallery, small_model, LIMITS, difference_request(request(sampler=sampler)), png(50), SIZE)
        next(steps)
        gallery.delete("11.png")
        assert list(steps)[-1].result.source.image_count == 11


# Other images at the same place


def test_the_marginal_sampler_draws_from_the_others_at_the_same_place(fill, small_model):
    *progress, last = making(fill(range(5)), small_model, sampler="marginal")
    assert [(one.done, one.total) for one in progress] == [(n, 5) for n in range(1, 6)]
    assert (last.result.sampler.kind, last.result.source.image_count, last.result.source.patch_count) == (
        "marginal",
        5,
        0,
    )
    windows = [small_model.prepare(png(n), LIMITS).pixels[2 : 2 + K, 5 : 5 + K] for n in range(5)]
    for drawn in last.result.sampler.draw(np.zeros((24, 40, 3), np.uint8), 2, 5, 20):
        assert any(np.array_equal(drawn, window) for window in windows)


def test_the_image_itself_is_none_of_the_others(fill, small_model):
    gallery = fill(range(3))
    *_, last = making(gallery, small_model, sampler="marginal", content=png(1))
    assert last.result.source.image_count == 2
    own = small_model.prepare(png(1), LIMITS).pixels[2 : 2 + K, 5 : 5 + K]
    assert not any(
        np.array_equal(one, own) for one in last.result.sampler.draw(np.zeros((24, 40, 3), np.uint8), 2, 5, 50)
    )


def test_images_of_other_shapes_are_laid_onto_the_same_input(galleries, small_model):
    gallery = galleries.create("g")
    tall = encoded(picture(1, 30, 90))
    gallery.add([NewImage("tall", tall, small_model.features([small_model.prepare(tall, LIMITS)])[0])])
    *_, last = making(gallery, small_model, sampler="marginal")
    assert draw(last).shape == (3, K, K, 3)


# Galleries that are too small


@pytest.mark.parametrize(
    ("numbers", "sampler", "message"),
    [
        ([], "conditional", "0 patches of 6 x 6 pixels fit into the images side by side, .* needs 109"),
        ([], "mean", "0 patches of 6 x 6"),
        ([1], "conditional", "24 patches of 6 x 6 pixels .* needs 109"),
        ([], "marginal", "needs other images, and gallery 'g' has none"),
        ([50], "marginal", "needs other images, and gallery 'g' has none"),
    ],
)
def test_too_few_images_are_counted(fill, small_model, numbers, sampler, message):
    gallery = fill(numbers)
    with pytest.raises(TooFewImages, match=message):
        making(gallery, small_model, sampler=sampler, content=png(50))
    assert not kept(gallery).exists()


def test_few_images_are_enough_for_small_patches_or_the_marginal_sampler(fill, small_model):
    gallery = fill([1])
    assert making(gallery, small_model, window_px=3, stride_px=3, context_px=4)[-1].result.source.image_count == 1
    assert making(gallery, small_model, sampler="marginal")[-1].result.source.image_count == 1


# Over the wire


def test_the_distribution_lives_and_dies_with_its_gallery(small_model, tmp_path):
    def explained(**rest):
        return list(api.explain_difference(request(**rest)))

    with serving(ServerConfig(data=tmp_path, port=0), small_model) as server, connected(server) as api:
        parent = api.fill("g", range(12))
        first, second = explained(seed=1), explained(seed=2)
        assert (max(total_of(one, "images") for one in first), max(total_of(one, "images") for one in second)) == (
            12,
            0,
        )
        assert first[-1].sampler.patch_count == second[-1].sampler.patch_count > 20_000
        [file] = tmp_path.rglob("patches-6.npz")
        path = file.parent
        api.add(parent, {f"{n}.png": png(n) for n in range(12, 15)})
        assert explained(seed=1)[-1].sampler.image_count == 12
        refitted = explained(seed=1, refit_sampler=True)
        assert (max(total_of(one, "images") for one in refitted), refitted[-1].sampler.image_count) == (15, 15)
        [again] = explained(seed=1, refit_sampler=True)  # goes on there, and fits no more
        assert again.maps == refitted[-1].maps
    with serving(ServerConfig(data=tmp_path, port=0), small_model) as server, connected(server) as api:
        restarted = explained(seed=1)
        assert {total_of(one, "images") for one in restarted} == {0}
        assert restarted[-1].maps == refitted[-1].maps
        api.galleries.DeleteGallery(DeleteGalleryRequest(name=parent))
        assert not path.exists()


@pytest.mark.parametrize("sampler", ["conditional", "mean", "marginal"])
def test_a_gallery_that_is_too_small_is_a_precondition(small_model, tmp_path, sampler):
    message = "has none" if sampler == "marginal" else "0 patches of 6 x 6 .* needs 109"
    with serving(ServerConfig(data=tmp_path, port=0), small_model) as server, connected(server) as api:
        api.create("g")
        asked = request(sampler=sampler)
        with pytest.raises(grpc.RpcError, match=message):
            list(api.explain_difference(asked))
        assert failure(lambda: list(api.explain_difference(asked))) == ("FAILED_PRECONDITION", "TOO_FEW_IMAGES")
        evidence = request(sampler=sampler, targets=[{"label_evidence": "odd"}])
        assert failure(lambda: list(api.explain_difference(evidence))) == ("INVALID_ARGUMENT", "BAD_TARGET")


# Cells of a layer


CELLS = {"layer": "conv1", "window_px": 1, "stride_px": 1, "context_px": 3}


def test_the_distribution_of_a_layer_is_kept_apart_from_that_of_the_pixels(fill, small_model):
    gallery = fill(range(6))
    first, *_, last = making(gallery, small_model, **CELLS)
    [file] = gallery.derived_file("x").parent.glob("cells-*-3.npz")
    assert (first.done, last.done) == (1, 6)
    assert last.result.source == SamplerSource(6, last.result.source.patch_count, 6, pytest.approx(1))
    again = making(gallery, small_model, **CELLS)
    assert [one.done for one in again] == [6]
    maps = LayerMaps(small_model, "conv1")(np.asarray(picture(3, *SIZE)))
    drawn = [one.result.sampler.draw(maps, 2, 5, 3) for one in (last, again[-1])]
    assert np.array_equal(*drawn)
    assert drawn[0].shape == (3, 1, 1, 6)
    file.write_bytes(b"broken")
    assert len(making(gallery, small_model, **CELLS)) == 7


def test_the_marginal_sampler_draws_cells_of_the_others(fill, small_model, monkeypatch):
    gallery = fill(range(4))
    made = making(gallery, small_model, sampler="marginal", content=png(0), **CELLS)[-1].result
    assert made.source == SamplerSource(3)
    others = [LayerMaps(small_model, "conv1")(np.asarray(picture(n, *SIZE)))[2, 5] for n in (1, 2, 3)]
    for drawn in made.sampler.draw(np.zeros((12, 20, 6), np.float32), 2, 5, 20)[:, 0, 0]:
        assert any(np.allclose(drawn, other, atol=0.05) for other in others)
    monkeypatch.setattr(patch_samplers, "MARGINAL_BYTES", 1)
    assert making(gallery, small_model, sampler="marginal", **CELLS)[-1].result.source.image_count == 1
