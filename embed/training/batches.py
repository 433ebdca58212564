"""The batches of a run. Each is a function of the settings and its step alone, so a run can stop and go on anywhere."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from whymatch.embed.errors import BadFolder, WhymatchError
from whymatch.embed.folders import LabeledImage, labels_of
from whymatch.embed.image import DecodeLimits, decode_image
from whymatch.embed.training.views import Pixels, ViewSettings, in_another_light, random_part, resized_part

AHEAD = 4
"""Batches that are made while the network works on one."""


@dataclass(frozen=True)
class BatchSettings:
    """What a batch is made of."""

    size: int
    """Images in a batch."""
    size_px: int
    """Side of a view."""
    seed: int
    images_per_label: int = 0
    """Draw so many images of each label; 0 takes images as they come, each once before any comes again."""
    parts_per_image: int = 0
    """An image has so many parts that views show, by turns; 0 draws a new part each time."""


@dataclass(frozen=True, eq=False)
class View:
    """An image as the network sees it once."""

    pixels: Pixels
    """(size_px, size_px, 3)."""
    label: int
    part: int
    """Number of the part of its image that it shows, among all parts of all images."""
    mirrored: bool
    for_teacher: Pixels | None
    """The part as it is, at the teacher's size, if the teacher does not know it."""


class Batches:
    """Makes batches of a list of images; an image that cannot be read is replaced by the next one of the list."""

    def __init__(
        self,
        images: Sequence[LabeledImage],
        settings: BatchSettings,
        views: ViewSettings,
        *,
        teacher_px: int = 0,
        teacher_knows: Callable[[int], bool] = lambda part: True,
    ) -> None:
        self.unreadable: dict[str, str] = {}
        """What is wrong with files, by path; filled as they are met."""
        self._images = images
        self._settings = settings
        self._views = views
        self._teacher_px = teacher_px
        self._teacher_knows = teacher_knows
        groups = labels_of(images)
        self._labels = {label: number for number, label in enumerate(groups)}
        positions = {image: position for position, image in enumerate(images)}
        self._by_label = [[positions[image] for image in group] for group in groups.values()]

    def from_step(self, start: int, end: int) -> Iterator[list[View]]:
        """Yield the batches of steps `start` to `end`, some made ahead of time."""
        with ThreadPoolExecutor(2, "batches") as pool:
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
        return [self._view(rng, position, turn) for position, turn in drawn]

    def _next_in_turn(self, step: int) -> list[tuple[int, int]]:
        """Return the positions of the images of a step, and how often each was seen before."""
        size, count = self._settings.size, len(self._images)
        drawn = []
        for number in range(step * size, (step + 1) * size):
            turn, place = divmod(number, count)
            drawn.append((int(self._order(turn)[place]), turn))
        return drawn

    def _order(self, turn: int) -> NDArray[np.int64]:
        return np.random.default_rng([self._settings.seed, turn, 0]).permutation(len(self._images))

    def _some_of_each_label(self, rng: np.random.Generator) -> list[tuple[int, int]]:
        """Draw labels, and images of each; a label with too few images gives them more than once."""
        each = self._settings.images_per_label
        drawn: list[int] = []
        for label in rng.permutation(len(self._by_label))[: max(2, self._settings.size // each)]:
            group = rng.permutation(self._by_label[label])
            drawn += np.resize(group, each).tolist()
        return [(position, 0) for position in drawn]

    def _view(self, rng: np.random.Generator, position: int, turn: int) -> View:
        position, image = self._readable(position)
        parts = self._settings.parts_per_image
        number = position * parts + turn % parts if parts else 0
        part_rng = np.random.default_rng([self._settings.seed, 1, number]) if parts else rng
        part = random_part(part_rng, *image.size, self._views)
        mirrored = bool(rng.random() < 0.5)
        view = in_another_light(rng, resized_part(image, part, self._settings.size_px), self._views)
        pixels = np.asarray(view)[:, ::-1] if mirrored else np.asarray(view)
        known = self._teacher_knows(number)
        for_teacher = None if known else np.asarray(resized_part(image, part, self._teacher_px))
        return View(pixels, self._labels[self._images[position].label], number, mirrored, for_teacher)

    def _readable(self, position: int) -> tuple[int, Image.Image]:
        """Decode an image, or the next one that can be."""
        for step in range(len(self._images)):
            candidate = (position + step) % len(self._images)
            path = self._images[candidate].path
            try:
                return candidate, decode_image(path.read_bytes(), DecodeLimits())
            except (WhymatchError, OSError) as err:
                self.unreadable[str(path)] = str(err)
        raise BadFolder(f"none of the {len(self._images)} images can be read; the first: {self._images[0].path}")
