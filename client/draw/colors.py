"""The color maps that servers draw maps with, as nine colors at even steps, to draw the scale beside them."""

GRADIENTS = {
    "inferno": ["#000004", "#210c4a", "#57106e", "#8a226a", "#bc3754", "#e45a31", "#f98e09", "#f9cb35", "#fcffa4"],
    "RdBu_r": ["#053061", "#2a71b2", "#6bacd1", "#c2ddec", "#f7f6f6", "#fbccb4", "#e48066", "#ba2832", "#67001f"],
}
"""By their matplotlib names; other color maps are shown without a bar."""
