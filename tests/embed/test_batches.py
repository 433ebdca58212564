from sample_pictures import png

from whymatch.embed import DecodeLimits, NotAnImage, load_model
from whymatch.embed.batches import prepared_batches

SIZES = [(96, 64), (64, 96), (80, 80)]


def test_every_image_comes_once_in_batches_of_one_size(model):
    images = {n: png(n, *SIZES[n % 3]) for n in range(50)}
    seen = []
    for batch, broken in prepared_batches(model, images.items(), DecodeLimits(), batch_size=4):
        assert not broken
        assert len({prepared.pixels.shape for _, prepared in batch}) == 1
        assert len(batch) <= 4
        seen += batch
    assert sorted(key for key, _ in seen) == list(range(50))
    for key, prepared in seen:
        assert (prepared.pixels == model.prepare(images[key], DecodeLimits()).pixels).all()


def test_images_of_rare_sizes_do_not_pile_up():
    model = load_model(size_px=64)
    images = [(n, png(n, 40 + 40 * n, 40)) for n in range(9)]
    sizes = [len(batch) for batch, _ in prepared_batches(model, images, DecodeLimits(), batch_size=2, waiting_bytes=0)]
    assert sum(sizes) == 9
    assert max(sizes) <= 2
    assert sizes[0] == 1  # before a second one of its size has come


def test_a_broken_image_is_reported_and_the_others_go_on(model):
    images = [(1, png(1)), (2, b"no image"), (3, png(3)), (4, b"")]
    found = list(prepared_batches(model, images, DecodeLimits()))
    assert [key for batch, _ in found for key, _ in batch] == [1, 3]
    errors = {key: err for _, broken in found for key, err in broken.items()}
    assert set(errors) == {2, 4}
    assert isinstance(errors[2], NotAnImage)


def test_broken_images_alone_are_reported_too(model):
    [(batch, broken)] = prepared_batches(model, [("x", b"no image")], DecodeLimits())
    assert not batch
    assert set(broken) == {"x"}
    assert list(prepared_batches(model, [], DecodeLimits())) == []


def test_a_flow_that_is_left_early_stops(model):
    asked = []

    def images():
        for n in range(10_000):
            asked.append(n)
            yield n, png(0)

    flow = prepared_batches(model, images(), DecodeLimits())
    next(flow)
    flow.close()
    assert len(asked) < 200
