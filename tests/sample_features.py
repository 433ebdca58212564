"""Features with known maps, and random ones of every kind as a Hypothesis strategy."""

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from whymatch.embed import NO_HEAD, Features, Geometry, Head, Pooling, fit_centering, fit_whitening
from whymatch.index.half_maps import compress, expand

PLACEMENT = Geometry().placement(20, 10)
MODES = ["keep", "warp", "center-crop"]
POOLINGS = [Pooling("average"), Pooling("max"), Pooling("gem")]


def features(feature_map, pooling=POOLINGS[0], placement=PLACEMENT) -> Features:
    feature_map = np.asarray(feature_map, np.float32)
    return Features(feature_map, pooling.pool(feature_map), pooling, placement)


def last(fits) -> Head:
    """The head that a fit ends with."""
    *_, fit = fits
    return fit.result


@st.composite
def heads(draw, size=1.0):
    """Heads of every kind for 8 channels, the fitted ones of images whose activations have that size."""
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    gallery = (random.gamma(0.3, size=(60, 8)) * size).astype(np.float32)
    kind = draw(st.sampled_from(["none", "centering", "whitening", "linear"]))
    if kind == "centering":
        return last(fit_centering([gallery]))
    if kind == "whitening":
        return last(fit_whitening([gallery], 8, draw(st.integers(4, 8))))
    if kind == "linear":
        dimensions = draw(st.integers(4, 12))
        bias = random.normal(size=dimensions) * size
        return Head(kind, random.normal(size=(dimensions, 8)).astype(np.float32), bias.astype(np.float32))
    return NO_HEAD


def stored(features: Features) -> Features:
    """What a gallery gives back: the pooled vector as it was, the feature map rounded to half precision."""
    rounded = expand(compress(features.feature_map, keep_peaks=features.pooling.kind == "max"))
    return replace(features, feature_map=rounded)


@st.composite
def pairs(draw, exact=False, longest=5):
    """Features of two images behind one head: any pooling, geometry and grid; sparse activations of any size.

    exact: neither is rounded as a stored one.
    """
    sides = st.integers(1, longest)
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    pooling, geometry = draw(st.sampled_from(POOLINGS)), Geometry(draw(st.sampled_from(MODES)))
    size = draw(st.sampled_from([1e-6, 1.0, 1e6]))
    head = draw(heads(size))
    both = []
    for _ in range(2):
        feature_map = random.gamma(0.3, size=(draw(sides), draw(sides), 8)) * (random.random(8) < 0.8) * size
        placement = geometry.placement(draw(st.integers(2, 40)), draw(st.integers(2, 40)))
        image = features(feature_map, pooling, placement).through(head)
        both.append(image if exact or draw(st.booleans()) else stored(image))
    return tuple(both)
