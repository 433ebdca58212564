"""The top images of units, against every response of every image."""

import sqlite3
from contextlib import closing

import numpy as np
import pytest
import torch
from sample_pictures import png
from small_networks import model_of, small
from torch import nn
from unit_galleries import add, gallery_of

from whymatch.embed import BadLayer, DecodeLimits, Model, TooFewImages
from whymatch.embed.networks import Network
from whymatch.explain import BadTarget
from whymatch.explain.units import LayerResponses, SegmentThreshold, UnitsOfGallery, UnitTops
from whymatch.explain.units.peak_store import FILE
from whymatch.explain.units.peaks import SAMPLE, peaks_of
from whymatch.index import Gallery, ReadOnlyStorage
from whymatch.index.schema import content_path

LIMITS = DecodeLimits()


def responses(model: Model, layer: str, content: bytes) -> np.ndarray:
    """(C, H, W), by running the whole network."""
    pixels = np.stack([model.prepare(content, LIMITS).pixels])
    return LayerResponses(model, layer).maps(pixels)[0].numpy()


def tops(gallery: Gallery, model: Model, layer: str, count: int = 5) -> list[UnitTops]:
    found = UnitsOfGallery(gallery, model, layer, LIMITS)
    *_, last = found.tops(range(found.responses.channels), count)
    assert last.result
    return last.result.all()


def plain(found: list[UnitTops]) -> list[list[tuple[str, float, tuple[int, int]]]]:
    return [[(top.image.name, round(top.response, 2), top.cell) for top in one.images] for one in found]


def brute_force(model: Model, layer: str, images: dict[str, bytes], count: int = 5):
    maps = {name: responses(model, layer, content) for name, content in images.items()}
    found = []
    for unit in range(len(next(iter(maps.values())))):
        cells = {name: np.unravel_index(one[unit].argmax(), one[unit].shape) for name, one in maps.items()}
        cells = {name: np.unravel_index(one[unit].argmax(), one[unit].shape) for name, one in maps.items()}
        peaks = [(name, float(maps[name][unit][cell]), cell) for name, cell in cells.items()]
        best = sorted((peak for peak in peaks if peak[1] > 0), key=lambda peak: -peak[1])[:count]
        found.append([(name, round(value, 2), (int(row), int(column))) for name, value, (row, column) in best])
    return found


@pytest.mark.parametrize("layer", ["conv1", "conv2", "relu"])
@pytest.mark.parametrize("omit_feature_maps", [False, True])
def test_top_images_are_those_of_all_responses(tmp_path, layer, omit_feature_maps):
    model = small()
    images = {f"{n}.png": png(n) for n in range(12)}
    with gallery_of(tmp_path, model, omit_feature_maps=omit_feature_maps) as gallery:
        add(gallery, model, images)
        if omit_feature_maps or not LayerResponses(model, layer).is_pooled:
            assert plain(tops(gallery, model, layer)) == brute_force(model, layer, images)
        else:  # what is kept is rounded to half precision
            expected = [value for [(_, value, _)] in brute_force(model, layer, images, 1)]
            assert [one.maximum for one in tops(gallery, model, layer)] == pytest.approx(expected, abs=0.01)


def test_only_the_layer_that_is_pooled_is_read_from_what_is_kept():
    model = small()
    assert [layer for layer in ("conv1", "conv2", "relu") if LayerResponses(model, layer).is_pooled] == ["relu"]
    tapped = small(tap="conv1")
    assert not LayerResponses(tapped, "relu").is_pooled
    assert not LayerResponses(tapped, "conv1").is_pooled


def test_peaks_of_deleted_images_go_from_all_layers(tmp_path):
    model = small()
    with gallery_of(tmp_path, model) as gallery:
        add(gallery, model, {f"{n}": png(n) for n in range(4)})
        tops(gallery, model, "conv1")
        gallery.delete("2")
        tops(gallery, model, "conv2")
        with closing(sqlite3.connect(gallery.derived_file(FILE))) as connection:
            assert connection.execute("SELECT count(*) FROM peaks").fetchone() == (6,)


def test_new_images_are_looked_at_alone_and_deleted_ones_forgotten(tmp_path):
    model = small()
    images = {f"{n}.png": png(n) for n in range(9)}
    with gallery_of(tmp_path, model) as gallery:
        add(gallery, model, dict(list(images.items())[:6]))
        tops(gallery, model, "conv1")
        add(gallery, model, dict(list(images.items())[6:]))
        gallery.delete("2.png")
        del images["2.png"]
        *_, last = steps = [
            (one.done, one.total) for one in UnitsOfGallery(gallery, model, "conv1", LIMITS).tops([0], 3)
        ]
        assert (steps[0], last) == ((5, 8), (8, 8))
        assert plain(tops(gallery, model, "conv1")) == brute_force(model, "conv1", images)


def test_a_pass_that_is_left_early_goes_on_where_it_was(tmp_path):
    model = small()
    with gallery_of(tmp_path, model) as gallery:
        add(gallery, model, {f"{n}.png": png(n) for n in range(40)})
        passing = UnitsOfGallery(gallery, model, "conv1", LIMITS).tops([0], 3)
        assert next(passing).done == 0
        assert next(passing).done == 16
        passing.close()
        again = UnitsOfGallery(gallery, model, "conv1", LIMITS).tops([0], 3)
        assert next(again).done == 16


def test_images_with_the_same_content_count_once_under_the_first_name(tmp_path):
    model = small()
    with gallery_of(tmp_path, model) as gallery:
        add(gallery, model, {"first": png(1), "twin": png(1), "other": png(2)})
        found = tops(gallery, model, "conv1")
        assert {one.image.name for unit in found for one in unit.images} <= {"first", "other"}
        assert {unit.image_count for unit in found} == {2}


def test_an_image_that_cannot_be_read_is_left_out(tmp_path, caplog):
    model = small()
    with gallery_of(tmp_path, model) as gallery:
        add(gallery, model, {"good": png(1), "bad": png(2)})
        content_path(gallery._store.folder, gallery.get("bad").content_sha256).write_bytes(b"damaged")
        assert {one.image.name for unit in tops(gallery, model, "conv1") for one in unit.images} == {"good"}
    assert "'bad' has no part" in caplog.text


def test_a_damaged_file_of_peaks_is_made_again(tmp_path, caplog):
    model = small()
    images = {f"{n}.png": png(n) for n in range(4)}
    with gallery_of(tmp_path, model) as gallery:
        add(gallery, model, images)
        tops(gallery, model, "conv1")
        gallery.derived_file(FILE).write_bytes(b"no database" * 1000)
        assert plain(tops(gallery, model, "conv1")) == brute_force(model, "conv1", images)
    assert "made again" in caplog.text


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE peaks SET response = x'00' WHERE rowid = 2",
        "UPDATE peaks SET cells = x'0000' WHERE rowid = 2",
        "ALTER TABLE peaks DROP COLUMN cells",
        "DROP TABLE peaks",
    ],
)
def test_what_sqlite_does_not_notice_is_noticed(tmp_path, damage):
    model = small()
    images = {f"{n}.png": png(n) for n in range(4)}
    with gallery_of(tmp_path, model) as gallery:
        add(gallery, model, images)
        tops(gallery, model, "conv1")
        with closing(sqlite3.connect(gallery.derived_file(FILE))) as connection:
            connection.execute(damage)
            connection.commit()
        assert plain(tops(gallery, model, "conv1")) == brute_force(model, "conv1", images)


def test_a_file_that_is_gone_from_the_gallery_spoils_no_peaks(tmp_path, caplog):
    model = small()
    images = {f"{n}.png": png(n) for n in range(4)}
    with gallery_of(tmp_path, model) as gallery:
        add(gallery, model, images)
        tops(gallery, model, "conv1")
        content_path(gallery._store.folder, gallery.get("1.png").content_sha256).unlink()
        assert plain(tops(gallery, model, "conv1")) == brute_force(model, "conv1", images)  # known already
        del images["1.png"]
        assert plain(tops(gallery, model, "conv2")) == brute_force(model, "conv2", images)
    assert "its file is gone" in caplog.text


@pytest.mark.parametrize("layer", ["conv1", "relu"])
def test_an_image_that_is_replaced_during_the_pass_gives_its_name_no_wrong_peaks(tmp_path, layer):
    model = small()
    with gallery_of(tmp_path, model) as gallery:
        add(gallery, model, {"a": png(1), "b": png(1), "c": png(2)})
        passing = UnitsOfGallery(gallery, model, layer, LIMITS).tops([0], 3)
        next(passing)
        gallery.delete("a")
        add(gallery, model, {"a": png(9)})
        list(passing)
        expected = {
            name: responses(model, layer, content)[0].max()
            for name, content in {"a": png(9), "b": png(1), "c": png(2)}.items()
        }
        [unit] = tops(gallery, model, layer)[:1]
        assert {one.image.name: one.response for one in unit.images} == pytest.approx(expected, rel=1e-3)


def test_equal_responses_come_in_the_order_of_adding(tmp_path):
    module = nn.Sequential(nn.Conv2d(3, 1, 1), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2))
    module[0].weight.data.zero_()
    module[0].bias.data.fill_(9.0)  # every response is 6
    model = model_of(Network("six", module.eval(), frozenset()))
    with gallery_of(tmp_path, model) as gallery:
        names = [f"{n}" for n in (5, 3, 8, 1)]
        add(gallery, model, {name: png(int(name)) for name in names})
        [found] = tops(gallery, model, "0", 3)
        assert [(one.image.name, one.response, one.cell) for one in found.images] == [
            (name, 6.0, (0, 0)) for name in names[:3]
        ]


def test_a_dead_unit_has_no_images(tmp_path):
    model = small()
    with gallery_of(tmp_path, model) as gallery:
        model.trunk.module.get_submodule("conv1").bias.data[2] = -100.0
        add(gallery, model, {"a": png(1)})
        found = tops(gallery, model, "conv1")
        assert [one.is_dead for one in found] == [False, False, True, False, False, False]
        assert found[2].maximum == 0


def test_the_peak_is_the_first_of_equals_and_the_sample_is_drawn_from_the_cells():
    maps = torch.zeros(2, 3, 2, 5)
    maps[0, 0] = torch.tensor([[1.0, 7, 2, 7, 0], [3, 4, 5, 6, 7]])
    maps[1, 1, 1, 4] = 2.5
    first, second = peaks_of(maps.to(memory_format=torch.channels_last), [1, 2])
    assert first.values.tolist() == [7, 0, 0]
    assert first.cells.tolist() == [[0, 1], [0, 0], [0, 0]]
    assert (second.values[1], second.cells[1].tolist()) == (2.5, [1, 4])
    assert first.sample.shape == (SAMPLE, 3)
    assert set(first.sample[:, 0].tolist()) <= {0, 1, 2, 3, 4, 5, 6, 7}
    assert (peaks_of(maps, [1, 9])[0].sample == first.sample).all()
    with pytest.raises(FloatingPointError, match="weights"):
        peaks_of(maps * torch.nan, [1, 2])


def test_a_quantile_is_near_that_of_all_cells(tmp_path):
    model = small()
    images = {f"{n}.png": png(n) for n in range(60)}
    with gallery_of(tmp_path, model) as gallery:
        add(gallery, model, images)
        units = UnitsOfGallery(gallery, model, "conv1", LIMITS)
        *_, last = units.thresholds([0, 3], SegmentThreshold("quantile", 0.8))
        for unit, found in zip([0, 3], last.result, strict=True):
            every = np.concatenate([responses(model, "conv1", content)[unit].ravel() for content in images.values()])
            low, high = np.quantile(every, [0.73, 0.87])
            assert low <= found.response <= high
            assert found.cell_count == 60 * SAMPLE
            assert found.tops.maximum == pytest.approx(every.max())
        *_, last = units.thresholds([0, 3], SegmentThreshold("share", 0.25))
        assert [one.response for one in last.result] == [one.tops.maximum / 4 for one in last.result]


def test_what_lies_above_the_trunk_is_known_by_its_weights():
    torch.manual_seed(0)
    module = nn.Sequential()
    module.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    module.classifier = nn.Sequential(nn.Conv2d(4, 5, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = model_of(Network("conv head", module.eval(), frozenset()))
    below, above = (LayerResponses(model, layer).identity for layer in ("features.0", "classifier.0"))
    module.classifier[0].weight.data += 1
    changed = model_of(Network("conv head", module.eval(), frozenset()))
    assert LayerResponses(changed, "features.0").identity == below
    assert LayerResponses(changed, "classifier.0").identity != above


def test_layers_without_rows_and_columns_are_refused():
    with pytest.raises(BadLayer, match="no place in the image"):
        LayerResponses(small(), "fc")
    assert LayerResponses(small(), "avgpool").channels == 6  # a single cell is one


def test_what_is_not_there_says_so(tmp_path):
    model = small()
    with gallery_of(tmp_path, model) as gallery:
        units = UnitsOfGallery(gallery, model, "conv1", LIMITS)
        with pytest.raises(TooFewImages, match="'default' has 0 different images, and 1 are needed; add some"):
            list(units.tops([0], 3))
        with pytest.raises(TooFewImages):
            list(units.thresholds([0], SegmentThreshold("quantile", 0.5)))
        add(gallery, model, {"a": png(1)})
        with pytest.raises(TooFewImages, match="has 1 different images, and 4 are needed; ask for fewer"):
            list(units.tops([0], 3, at_least=4))
        with pytest.raises(BadTarget, match="no channel 6; take 0 to 5"):
            units.check([0, 6])
        with pytest.raises(BadLayer, match="'conv9' is no layer"):
            UnitsOfGallery(gallery, model, "conv9", LIMITS)


def test_peaks_of_two_layers_are_kept_apart(tmp_path):
    model = small()
    images = {"a": png(1), "b": png(2)}
    with gallery_of(tmp_path, model) as gallery:
        add(gallery, model, images)
        for layer in ("conv1", "conv2", "conv1"):
            assert plain(tops(gallery, model, layer)) == brute_force(model, layer, images)


def test_peaks_that_cannot_be_kept_say_so(tmp_path):
    model = small()
    with gallery_of(tmp_path, model) as gallery:
        add(gallery, model, {"a": png(1)})
        gallery.derived_file(FILE).mkdir()
        with pytest.raises(ReadOnlyStorage, match="cannot be written"):
            tops(gallery, model, "conv1")
