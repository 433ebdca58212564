"""What the servicers share: the galleries, the model, and threads for work that would hold up the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

from whymatch.embed import Embedder, Features
from whymatch.index import Galleries, Gallery
from whymatch.server.config import ServerConfig

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Stored:
    """A stored image, by the names of its gallery and itself."""

    gallery: str
    image: str


Source = bytes | Stored
"""An image, given as the bytes of its file or as a stored one."""


@dataclass(frozen=True, eq=False)
class Backend:
    """The rooms behind the service."""

    config: ServerConfig
    galleries: Galleries
    embedder: Embedder
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(8, "work"))

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a blocking function in a thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.threads, lambda: function(*args, **kwargs))

    async def gallery(self, name: str) -> Gallery:
        """Return a gallery, opened on first use."""
        return self.galleries.opened(name) or await self.run(self.galleries.open, name)

    async def features(self, source: Source) -> Features:
        """Return the features of an image: stored ones where they are kept, else the network's."""
        if isinstance(source, Stored):
            gallery = await self.gallery(source.gallery)
            if features := await self.run(gallery.features, source.image):
                return features
        return await asyncio.wrap_future(self.embedder.submit(await self.content(source), urgent=True))

    async def content(self, source: Source) -> bytes:
        """Return the bytes of an image file."""
        if isinstance(source, bytes):
            return source
        gallery = await self.gallery(source.gallery)
        return await self.run(gallery.content, source.image)
