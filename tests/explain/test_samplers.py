import numpy as np
import pytest

from whymatch.embed import TooFewImages
from whymatch.explain.patches import PatchNormal, fit_patches
from whymatch.explain.samplers import RIDGE, ConditionalSampler, MarginalSampler, MeanSampler

IMAGE = np.random.default_rng(1).integers(100, 156, (9, 8, 3), dtype=np.uint8)
EDGES = [(0, 0), (0, 6), (7, 0), (7, 6), (3, 3), (1, 5), (0, 3)]  # of windows of 2 x 2 pixels in IMAGE


def normal_of(context_px, spread=10.0, level=128.0):
    """A normal whose values depend on each other in no simple way, each with a standard deviation of about `spread`."""
    random, size = np.random.default_rng(context_px), context_px**2 * 3
    root = random.normal(size=(size, size)) * spread / size**0.5
    return PatchNormal(context_px, level + random.normal(size=size), root @ root.T, 1000, 10)


def fitted(images, context_px, seed=0):
    *_, fit = fit_patches(images, len(images), context_px, seed=seed)
    return fit.result


def noise(count, side=30, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def by_precision(normal, window_px, pixels, top, left):
    """Mean and covariance of a window from the inverse of the whole covariance, a pixel of the patch at a time."""
    side = normal.context_px
    first = [
        int(np.clip(at - (side - window_px) // 2, 0, longest - side))
        for at, longest in zip((top, left), pixels.shape, strict=False)
    ]
    places = [(row, column, channel) for row in range(side) for column in range(side) for channel in range(3)]
    inside = np.array(
        [0 <= r + first[0] - top < window_px and 0 <= c + first[1] - left < window_px for r, c, _ in places]
    )
    values = np.array([float(pixels[r + first[0], c + first[1], channel]) for r, c, channel in places])
    ridge = RIDGE * np.trace(normal.covariance) / len(places)
    precision = np.linalg.inv(normal.covariance + ridge * np.eye(len(places)))
    covariance = np.linalg.inv(precision[np.ix_(inside, inside)])
    mean = normal.mean[inside] - covariance @ precision[np.ix_(inside, ~inside)] @ (values - normal.mean)[~inside]
    return mean, covariance


@pytest.mark.parametrize(("context_px", "window_px"), [(3, 1), (4, 2), (5, 2), (2, 2)])
@pytest.mark.parametrize(("top", "left"), EDGES)
def test_the_mean_of_a_window_is_that_of_the_precision_matrix(context_px, window_px, top, left):
    normal = normal_of(context_px)
    mean, _ = by_precision(normal, window_px, IMAGE, top, left)
    [drawn] = MeanSampler(normal, window_px).draw(IMAGE, top, left, 1)
    assert drawn.shape == (window_px, window_px, 3)
    assert np.allclose(drawn.ravel(), mean.clip(0, 255), atol=1e-3)


@pytest.mark.parametrize(("context_px", "window_px"), [(3, 1), (4, 2), (2, 2)])
@pytest.mark.parametrize(("top", "left"), EDGES[:6:2])
def test_many_draws_have_the_mean_and_the_covariance_of_the_precision_matrix(context_px, window_px, top, left):
    normal, flat = normal_of(context_px), np.full_like(IMAGE, 128)
    mean, covariance = by_precision(normal, window_px, flat, top, left)
    draws = ConditionalSampler(normal, window_px, 0).draw(flat, top, left, 40_000).reshape(40_000, -1)
    spread = np.sqrt(np.diag(covariance))
    assert np.allclose(draws.mean(axis=0), mean, atol=0.03 * spread.max())
    assert np.allclose(np.cov(draws.T), covariance, atol=0.03 * spread.max() ** 2)


def test_two_values_by_hand():
    """Of 2 x 1 values that correlate by 0.8, the one that is 10 above its mean leaves the other 8 above its own."""
    pair = np.kron(np.array([[1, 0.8], [0.8, 1]]), np.eye(3)) * 100  # left and right pixel
    covariance = np.kron(np.eye(2), pair)  # rows do not depend on each other
    normal = PatchNormal(2, np.full(12, 100.0), covariance, 1000, 10)
    pixels = np.full((2, 2, 3), 110, np.uint8)
    assert np.allclose(MeanSampler(normal, 1).draw(pixels, 0, 0, 1), 108, atol=0.01)
    draws = ConditionalSampler(normal, 1, 0).draw(pixels, 0, 0, 20_000)
    assert draws.std() == pytest.approx(6, rel=0.02)  # 10 sqrt(1 - 0.8^2)


def test_the_window_itself_is_not_looked_at():
    other = IMAGE.copy()
    other[3:5, 3:5] = 0
    sampler = ConditionalSampler(normal_of(4), 2, 0)
    assert np.array_equal(sampler.draw(IMAGE, 3, 3, 5), sampler.draw(other, 3, 3, 5))
    assert not np.array_equal(sampler.draw(IMAGE, 3, 4, 5), sampler.draw(other, 3, 4, 5))


def conditional(seed):
    return ConditionalSampler(normal_of(4), 2, seed)


def marginal(seed):
    return MarginalSampler(noise(50), 2, seed)


@pytest.mark.parametrize("sampler", [conditional, marginal])
def test_a_draw_depends_on_seed_place_and_number_alone(sampler):
    one = sampler(0)
    twenty = one.draw(IMAGE, 3, 3, 20)
    for count in (0, 1, 2, 3, 7, 19):
        assert np.array_equal(one.draw(IMAGE, 3, 3, count), twenty[:count])
    assert np.array_equal(sampler(0).draw(IMAGE, 3, 3, 20), twenty)
    assert not np.array_equal(sampler(1).draw(IMAGE, 3, 3, 20), twenty)
    assert not np.array_equal(one.draw(IMAGE, 3, 2, 20), twenty)
    assert len(np.unique(twenty.reshape(20, -1), axis=0)) > 10


def test_all_draws_of_the_mean_are_the_same():
    draws = MeanSampler(normal_of(4), 2).draw(IMAGE, 3, 3, 3)
    assert draws.shape == (3, 2, 2, 3)
    assert np.array_equal(draws[0], draws[2])


@pytest.mark.parametrize("level", [-30, 285])
def test_draws_are_clipped_to_valid_pixels(level):
    normal = normal_of(4, spread=60, level=level)
    draws = ConditionalSampler(normal, 2, 0).draw(IMAGE, 3, 3, 100)
    assert draws.dtype == np.float32
    assert (draws.min(), draws.max()) == (0, 255)
    assert 0 <= MeanSampler(normal, 2).draw(IMAGE, 3, 3, 1).min() <= 255


def test_the_other_images_lend_what_they_have_at_the_same_place():
    others = np.arange(4, dtype=np.uint8)[:, None, None, None] * 50 + np.arange(40, dtype=np.uint8).reshape(1, 8, 5, 1)
    others = np.repeat(others, 3, axis=-1)
    draws = MarginalSampler(others, 3, 0).draw(np.zeros((8, 5, 3), np.uint8), 4, 1, 200)
    assert (draws.dtype, draws.shape) == (np.float32, (200, 3, 3, 3))
    lenders = (draws[:, 0, 0, 0] - 21) / 50  # 4 * 5 + 1 is the first pixel's place
    assert set(lenders) == {0, 1, 2, 3}
    assert all(np.array_equal(draw, others[int(lender), 4:7, 1:4]) for draw, lender in zip(draws, lenders, strict=True))


def test_a_fit_to_white_noise_finds_its_mean_and_variance_and_no_correlation():
    normal = fitted(noise(20), 3)
    assert (normal.context_px, normal.patch_count, normal.image_count) == (3, 25_000, 20)
    assert np.allclose(normal.mean, 127.5, atol=3)
    assert np.allclose(normal.covariance, np.eye(27) * (256**2 - 1) / 12, atol=300)


def test_a_fit_to_gradients_knows_how_a_gradient_goes_on():
    across = np.tile(np.arange(0, 240, 4, dtype=np.uint8)[None, :, None], (60, 1, 3))
    images = [across, across.transpose(1, 0, 2)]
    [window] = MeanSampler(fitted(images, 5), 1).draw(across, 20, 30, 1)
    assert np.allclose(window, 4 * 30, atol=1)


def test_values_of_a_patch_lie_in_the_order_row_column_channel():
    striped = np.zeros((40, 40, 3), np.uint8) + np.array([10, 20, 30], np.uint8)
    assert np.allclose(fitted([striped], 2).mean, [10, 20, 30] * 4)


def test_a_gallery_of_one_color_gives_that_color():
    gray = np.full((40, 40, 3), 77, np.uint8)
    normal = fitted([gray], 4)
    assert not normal.covariance.any()
    assert np.allclose(ConditionalSampler(normal, 2, 0).draw(gray, 3, 3, 20), 77, atol=0.1)


def test_images_of_black_and_white_keep_the_covariance_positive_definite():
    images = [np.full((160, 160, 3), level, np.uint8) for level in (0, 255)] * 3
    normal = fitted(images, 14)  # of rank 1
    white = ConditionalSampler(normal, 10, 0).draw(images[1], 2, 3, 20)
    assert np.allclose(white, 255, atol=8)
    assert np.allclose(MeanSampler(normal, 10).draw(images[0], 2, 3, 1), 0, atol=0.1)


def test_a_fit_says_how_far_it_is_and_passes_over_small_images():
    images = [*noise(3), np.zeros((2, 50, 3), np.uint8), *noise(1)]
    *fits, end = fit_patches(images, 5, 3)
    assert [fit.done for fit in fits] == [1, 2, 3, 4, 5]
    assert not any(fit.result for fit in fits)
    assert (end.done, end.result.image_count, end.result.patch_count) == (5, 4, 20_000)


def test_a_fit_depends_on_its_seed_alone():
    first, second, third = (fitted(noise(6), 2, seed) for seed in (0, 0, 1))
    assert np.array_equal(first.covariance, second.covariance)
    assert not np.array_equal(first.covariance, third.covariance)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "^0 patches of 4 x 4 pixels .* needs 49; add images, or take a smaller context or the marginal sampler"),
        (np.zeros((6, 11, 19, 3), np.uint8), "^48 patches"),  # 2 x 4 in each
        (np.zeros((99, 3, 300, 3), np.uint8), "^0 patches"),
    ],
    ids=["none", "few", "flat"],
)
def test_too_few_patches_say_how_many_are_needed(images, message):
    with pytest.raises(TooFewImages, match=message):
        fitted(images, 4)


def test_just_enough_patches_are_enough():
    assert fitted(np.zeros((7, 7, 28, 3), np.uint8), 4).image_count == 7  # 49 patches


def test_plain_white_is_drawn_a_little_too_dark():
    """Clipping at the mean of a normal of deviation s takes 0.4 s off; docs/prediction-difference.md says so."""
    normal = PatchNormal(1, np.full(3, 255.0), 100 * np.eye(3), 1000, 10)
    draws = ConditionalSampler(normal, 1, 0).draw(np.full((1, 1, 3), 255, np.uint8), 0, 0, 40_000)
    assert draws.mean() == pytest.approx(255 - 0.4 * 10, abs=0.1)


def test_a_saved_normal_draws_the_same_samples(tmp_path):
    normal = fitted(noise(5), 4)
    normal.save(tmp_path / "patches.npz")
    loaded = PatchNormal.load(tmp_path / "patches.npz")
    assert (loaded.context_px, loaded.patch_count, loaded.image_count) == (4, 25_000, 5)
    one, other = (ConditionalSampler(each, 2, 0).draw(IMAGE, 3, 3, 5) for each in (normal, loaded))
    assert np.array_equal(one, other)
    assert [path.name for path in tmp_path.iterdir()] == ["patches.npz"]


def test_a_missing_folder_and_a_missing_file_are_named(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        normal_of(2).save(tmp_path / "missing" / "patches.npz")
    with pytest.raises(FileNotFoundError):
        PatchNormal.load(tmp_path / "patches.npz")


def test_every_image_gives_patches_of_other_places():
    """The second image is the first one's negative: patches of the same places would have a mean of 127.5."""
    ramp = np.broadcast_to(np.arange(240, dtype=np.uint8)[:, None, None], (240, 240, 3))
    assert abs(fitted([ramp, 255 - ramp], 2).mean - 127.5).max() > 0.01
