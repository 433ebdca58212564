"""The sheet of several images and their similarity to one label."""

import numpy as np
import PIL.Image
import pytest
from sample_pictures import encoded

from whymatch.client import Box, LabelExplanation, SimilarityMap
from whymatch.client.draw.labels import Explained, write_labels
from whymatch.client.draw.maps import common_scale, lit


@pytest.fixture
def images() -> list[Explained]:
    """Two white images, one of which is twice as similar to the label."""
    explained = []
    for name, score in (("strong.png", 0.8), ("weak.png", 0.4)):
        values = np.full((1, 2), score / 2, np.float32)
        one = SimilarityMap(values, score, 40, 20, Box(0, 0, 40, 20), Box(0, 0, 20, 20))
        content = encoded(PIL.Image.new("RGB", (40, 20), "white"))
        explained.append(Explained(name, content, LabelExplanation(score, 3, one, "f", None)))
    return explained


def test_the_maps_of_several_images_have_one_scale(images, tmp_path):
    files = write_labels(images, "cats", tmp_path)
    assert [file.name for file in files] == ["01-query.png", "02-query.png"]
    maps = [one.explanation.query_map for one in images]
    scale = common_scale(maps)
    assert scale.high == pytest.approx(0.4)
    for file, one, similarity_map in zip(files, images, maps, strict=True):
        with PIL.Image.open(file) as picture:
            assert picture.tobytes() == lit(one.content, similarity_map, scale, size_px=512).tobytes()


def test_a_row_of_a_sheet_holds_five_images(images, tmp_path):
    sizes = []
    for count in (1, 5, 6):
        write_labels((images * 3)[:count], "cats", tmp_path)
        with PIL.Image.open(tmp_path / "sheet.png") as sheet:
            sizes.append(sheet.size)
    assert sizes[0][0] < sizes[1][0] == sizes[2][0]
    assert sizes[0][1] == sizes[1][1] < sizes[2][1]
