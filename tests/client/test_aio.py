import asyncio

import pytest

from whymatch.client import AsyncClient, DeadlineExceeded, InvalidArgument, NewImage, NotFound, Unavailable


def test_a_gallery_from_its_first_image_to_a_search(address, world, picture):
    async def scenario():
        async with AsyncClient(address) as client:
            await client.create_gallery("default")
            images = [NewImage(picture(color), color) for color in ("red", "lime", "blue")]
            added = [answer.name async for answer in client.add([*images, NewImage(b"no image", "bad")])]
            result = await client.search(picture("lime"), limit=1, with_maps=True)
            names = [image.name async for image in client.list()]
            galleries = [gallery.name async for gallery in client.galleries()]
            content = await client.content("red")
            await client.delete("red")
            return added, result, names, galleries, content, await client.model()

    added, result, names, galleries, content, model = asyncio.run(scenario())
    assert added == ["red", "lime", "blue", "bad"]
    assert (result[0].name, result[0].query_map.total) == ("lime", pytest.approx(1))
    assert names == ["blue", "lime", "red"]
    assert galleries == ["default"]
    assert content == picture("red")
    assert model.backbone == "halves"


def test_images_may_come_from_an_async_source(address, world, picture):
    world.galleries["default"] = {}

    async def images():
        for name in "ab":
            await asyncio.sleep(0)
            yield NewImage(picture("red"), name)

    async def scenario():
        async with AsyncClient(address) as client:
            return [answer.name async for answer in client.add(images())]

    assert asyncio.run(scenario()) == ["a", "b"]


def test_errors_are_the_same(address, world, picture):
    world.galleries["default"] = {}

    async def scenario():
        async with AsyncClient(address) as client:
            with pytest.raises(NotFound) as caught:
                await client.get("x")
            assert caught.value.reason == "UNKNOWN_IMAGE"
            with pytest.raises(InvalidArgument):
                await client.add_image(b"no image", name="a")
            with pytest.raises(FileNotFoundError):
                await client.add_image("gone.png")
            with pytest.raises(NotFound):
                await client.add_image(picture("red"), name="a", gallery="other")
        async with AsyncClient("127.0.0.1:1") as client:
            with pytest.raises(Unavailable, match="whymatch serve"):
                await client.model()

    asyncio.run(scenario())


def test_deadlines_hold_for_calls_and_answers(address, world, picture):
    world.galleries["default"] = {}
    world.answer_delay_s = 2

    async def scenario():
        async with AsyncClient(address, timeout_s=0.2) as client:
            with pytest.raises(DeadlineExceeded, match="timeout_s"):
                await client.search(picture("red"))
            with pytest.raises(DeadlineExceeded, match=r"0\.2 s"):
                await client.add_image(picture("red"), name="a")

    asyncio.run(scenario())
