import numpy as np
import pytest

from whymatch.index.half_maps import HalfMap, compress, expand


def test_every_half_becomes_the_same_float():
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)]
    expanded = expand(HalfMap(1, 1, 0, halves.tobytes())).ravel()
    assert np.array_equal(expanded, halves.astype(np.float32))
    assert np.array_equal(np.signbit(expanded), np.signbit(halves))


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1, 1e4, 1e6, 1.5e38])
def test_sizes_that_halves_do_not_have_keep_their_eleven_bits(scale):
    feature_map = np.random.default_rng(0).uniform(-2, 2, (3, 4, 5)).astype(np.float32) * np.float32(scale)
    expanded = expand(compress(feature_map, keep_peaks=False))
    assert expanded.shape == (3, 4, 5)
    assert np.allclose(expanded, feature_map, rtol=2**-11, atol=2**-20 * scale)
