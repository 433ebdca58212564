"""The batches of a run. Each is a function of the settings and its step alone, so a run can stop and go on anywhere."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from whymatch.embed.embedder import yield_to_the_network
from whymatch.embed.errors import BadFolder, WhymatchError
from whymatch.embed.folders import LabeledImage, labels_of, read_image_file
from whymatch.embed.image import DecodeLimits, decode_image
from whymatch.embed.training.views import Pixels, ViewSetting, in_another_light, random_part, resized_part

LIMITS = DecodeLimits()
AHEAD = 4
"""Batches that are made while the network works on one."""


@dataclass(frozen=True)
class BatchSetting:
    """What a batch is made of."""

    size: int
    """Images in a batch."""
    size_px: int
    """Side of a view."""
    seed: int
    images_per_label: int = 0
    """Images to draw of each label; 0 takes images as they come, each once before any comes again."""


@dataclass(frozen=True, eq=False)
class View:
    """An image as the network sees it once."""

    pixels: Pixels
    """(size_px, size_px, 3)."""
    label: int


class Batches:
    """Makes batches of a list of images; an image that cannot be read is replaced by the next one of the list."""

    def __init__(
        self,
        images: Sequence[LabeledImage],
        settings: BatchSetting,
        views: ViewSetting,
    ) -> None:
        self.unreadable: dict[str, str] = {}
        """Why files cannot be read, by path; filled as they are met."""
        self._images = images
        self._settings = settings
        self._views = views
        groups = labels_of(images)
        self._labels = {label: number for number, label in enumerate(groups)}
        positions = {image: position for position, image in enumerate(images)}
        self._by_label = [[positions[image] for image in group] for group in groups.values()]

    def from_step(self, start: int, end: int) -> Iterator[list[View]]:
        """Yield the batches of steps `start` to `end`, some made ahead of time."""
        with ThreadPoolExecutor(2, "batches", initializer=yield_to_the_network) as pool:
            ahead: deque[Future[list[View]]] = deque()
            try:
                for step in range(start, end):
                    ahead.append(pool.submit(self.batch, step))
                    if len(ahead) > AHEAD:
                        yield ahead.popleft().result()
                while ahead:
                    yield ahead.popleft().result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def batch(self, step: int) -> list[View]:
        """Make the batch of a step."""
        rng = np.random.default_rng([self._settings.seed, step])
        drawn = self._some_of_each_label(rng) if self._settings.images_per_label else self._next_in_turn(step)
        return [self._view(rng, position) for position in drawn]

    def _next_in_turn(self, step: int) -> list[int]:
        """Return the positions of the images of a step."""
        size, count = self._settings.size, len(self._images)
        turns = [divmod(number, count) for number in range(step * size, (step + 1) * size)]
        orders = {turn: self._order(turn) for turn in {turn for turn, _ in turns}}
        return [int(orders[turn][place]) for turn, place in turns]

    def _order(self, turn: int) -> NDArray[np.int64]:
        return np.random.default_rng([self._settings.seed, turn, 0]).permutation(len(self._images))

    def _some_of_each_label(self, rng: np.random.Generator) -> list[int]:
        """Draw labels, and images of each; a label with too few images gives them more than once."""
        each = self._settings.images_per_label
        drawn: list[int] = []
        for label in rng.permutation(len(self._by_label))[: max(2, self._settings.size // each)]:
            drawn += np.resize(rng.permutation(self._by_label[label]), each).tolist()
        return drawn

    def _view(self, rng: np.random.Generator, position: int) -> View:
        position, image = self._readable(position)
        part = random_part(rng, *image.size, self._views)
        view = in_another_light(rng, resized_part(image, part, self._settings.size_px), self._views)
        pixels = np.asarray(view)[:, ::-1] if rng.random() < 0.5 else np.asarray(view)
        return View(pixels, self._labels[self._images[position].label])

    def _readable(self, position: int) -> tuple[int, Image.Image]:
        """Decode an image, or the next one that can be."""
        for step in range(len(self._images)):
            candidate = (position + step) % len(self._images)
            path = self._images[candidate].path
            try:
                return candidate, decode_image(read_image_file(path, LIMITS.max_bytes), LIMITS)
            except (WhymatchError, OSError) as err:
                self.unreadable[str(path)] = str(err)
        raise BadFolder(f"none of the {len(self._images)} images can be read; the first: {self._images[0].path}")
