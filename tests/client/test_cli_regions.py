from pathlib import Path

import pytest
import typer

from whymatch.client import Box, Mask, Point, Polygon, Region
from whymatch.client.cli.regions import boxes, ignored, masks, point, polygons


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("10,20,300,200", Region(Box(10, 20, 310, 220))),
        ("10,20,300,200:0.5", Region(Box(10, 20, 310, 220), 0.5)),
        ("0,0,1.5,1e2:-1", Region(Box(0, 0, 1.5, 100), -1)),
        ("10%,0%,50%,100%", Region(Box(0.1, 0, 0.6, 1), 1, relative=True)),
        ("10%, 0%, 50%, 100%:-.5", Region(Box(0.1, 0, 0.6, 1), -0.5, relative=True)),
    ],
)
def test_a_box_is_left_top_width_height_and_weight(text, region):
    assert boxes([text], "--region") == [region]


def test_a_polygon_is_its_corners():
    corners = ((0, 0), (4, 0), (2, 2))
    assert polygons(["0,0,4,0,2,2", "0,0,4,0,2,2:-1"], "--polygon") == [
        Region(Polygon(corners)),
        Region(Polygon(corners), -1),
    ]


def test_a_point_may_be_relative():
    assert point("3,1.5", "--query-point") == Region(Point(3, 1.5))
    assert point("75%,50%", "--query-point") == Region(Point(0.75, 0.5), relative=True)


def test_only_a_number_behind_the_last_colon_of_a_mask_is_a_weight(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("mask.png", "a:b.png", "a:1"):
        Path(name).write_text(name)
    assert masks(["mask.png", "mask.png:-0.5", "a:b.png", "a:b.png:1", "a:1:0.5"], "--mask") == [
        Region(Mask(b"mask.png")),
        Region(Mask(b"mask.png"), -0.5),
        Region(Mask(b"a:b.png")),
        Region(Mask(b"a:b.png")),
        Region(Mask(b"a:1"), 0.5),
    ]


@pytest.mark.parametrize(
    ("parse", "text", "said"),
    [
        (boxes, "1,2,3", "write X,Y,W,H"),
        (boxes, "a,b,c,d", "write X,Y,W,H"),
        (boxes, "1,2,3,4:x", "write X,Y,W,H"),
        (boxes, "10%,0,50%,100%", "% behind all numbers or behind none"),
        (boxes, "0,0,0,4", "a width and a height above 0"),
        (boxes, "0,0,4,-4", "a width and a height above 0"),
        (boxes, "0,0,nan,4", "finite numbers"),
        (boxes, "0,0,4,4:2", "a weight from -1 to 1"),
        (boxes, "0,0,4,4:nan", "a weight from -1 to 1"),
        (ignored, "0,0,4,4:-1", "write X,Y,W,H, for example"),
        (polygons, "0,0,4,0", "at least three corners"),
        (polygons, "0,0,4,0,2,2,1", "at least three corners"),
        (masks, "gone.png", "there is no file 'gone.png'"),
        (masks, "gone.png:0.5", "there is no file 'gone.png'"),
    ],
)
def test_what_cannot_be_read_says_what_to_write(parse, text, said):
    with pytest.raises(typer.BadParameter) as caught:
        parse([text], "--option")
    assert f"--option {text!r}" in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize("text", ["1", "1,2,3", "x,y", "1%,2"])
def test_a_point_is_two_numbers(text):
    with pytest.raises(typer.BadParameter, match="--query-point"):
        point(text, "--query-point")
