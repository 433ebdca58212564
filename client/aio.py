"""The same client for asyncio."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Any, Self, TypeVar

import grpc
import grpc.aio
import numpy as np
from numpy.typing import ArrayLike

from whymatch.client import results
from whymatch.client.channel import (
    DEFAULT_ADDRESS,
    DEFAULT_GALLERY,
    DEFAULT_TIMEOUT_S,
    PathInput,
    call_metadata,
    channel_credentials,
    channel_options,
)
from whymatch.client.client import PAGE_SIZE
from whymatch.client.errors import WhymatchError
from whymatch.client.following import Following
from whymatch.client.inputs import HeadKind, ImageInput, NewImage, Query, RegionInput, SamplerKind, Stored
from whymatch.client.stall import Pace
from whymatch.client.targets import PredictionTarget
from whymatch.client.units_aio import AsyncUnits
from whymatch.client.wire import (
    answers_embed,
    answers_explain,
    answers_gallery,
    answers_search,
    requests_difference,
    requests_embed,
    requests_explain,
    requests_gallery,
    requests_search,
    requests_shapes,
)
from whymatch.client.wire.failures import from_grpc, stall, unanswered, unfinished
from whymatch.v1 import embed_service_pb2, explain_service_pb2, gallery_service_pb2
from whymatch.v1.embed_service_pb2_grpc import EmbedServiceStub
from whymatch.v1.explain_service_pb2_grpc import ExplainServiceStub
from whymatch.v1.gallery_service_pb2_grpc import GalleryServiceStub
from whymatch.v1.search_service_pb2_grpc import SearchServiceStub
from whymatch.v1.unit_service_pb2_grpc import UnitServiceStub

Response = TypeVar("Response")


class AsyncClient:
    """Talks to one server. Make it inside the event loop; close it, or use it in an `async with` block."""

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        gallery: str = DEFAULT_GALLERY,
        timeout_s: float | None = DEFAULT_TIMEOUT_S,
        token: str | None = None,
        tls: bool = False,
        ca_certificate: PathInput | None = None,
        client_certificate: PathInput | None = None,
        client_key: PathInput | None = None,
    ) -> None:
        """Take the arguments of `Client`."""
        self.address = address
        self.gallery = gallery
        self.timeout_s = timeout_s
        self._metadata = call_metadata(token)
        credentials = channel_credentials(tls, ca_certificate, client_certificate, client_key)
        options = channel_options(address)
        if credentials:
            self._channel = grpc.aio.secure_channel(address, credentials, options)
        else:
            self._channel = grpc.aio.insecure_channel(address, options)
        self._galleries = GalleryServiceStub(self._channel)
        self._search = SearchServiceStub(self._channel)
        self._explain = ExplainServiceStub(self._channel)
        self._embed = EmbedServiceStub(self._channel)
        self.units = AsyncUnits(UnitServiceStub(self._channel), self._stream, lambda: self.gallery)
        """What the units of the network respond to."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; calls that still run are canceled."""
        await self._channel.close(None)

    # Finding and explaining

    async def search(
        self,
        query: Query,
        *,
        limit: int = 10,
        labels: Sequence[str] = (),
        regions: Sequence[RegionInput] = (),
        best_per_label: bool = False,
        with_maps: bool = False,
        overlays: bool = False,
        overlay_size_px: int = 512,
        box_share: float = 0.5,
        gallery: str | None = None,
    ) -> results.SearchResult:
        """Return the images that are most similar to `query`, best first.

        query: a file's path or bytes, a Pillow picture, a `Stored` image, an embedding that `embed` returned, which is
            refused if another model or head made it, or a bare vector, which is not checked.
        labels: only images with one of these labels match; empty for all.
        regions: parts of the query image that alone decide the order; empty for the whole image.
        best_per_label: the best match of each label only, for the `limit` best labels.
        with_maps: ask where each similarity lies, in the query and in the match.
        overlays: ask for the maps and their pictures, whose longer side is `overlay_size_px`.
        box_share: how much of a map's positive values its `best_box` holds, above 0 and up to 1.
        """
        ask = functools.partial(
            requests_search.search,
            query,
            gallery or self.gallery,
            limit=limit,
            labels=labels,
            regions=regions,
            best_per_label=best_per_label,
            with_maps=with_maps,
            overlays=overlays,
            overlay_size_px=overlay_size_px,
            box_share=box_share,
        )
        # Files are read and pictures encoded beside the loop; for a vector the way there takes longer than the work.
        request = ask() if isinstance(query, np.ndarray | results.Embedding) else await asyncio.to_thread(ask)
        return answers_search.search_result(await self._call(self._search.Search, request))

    async def rerank(
        self,
        query: ImageInput | Stored,
        *,
        query_regions: Sequence[RegionInput] = (),
        match_regions: Sequence[RegionInput] = (),
        candidates: Sequence[str] = (),
        candidate_limit: int = 100,
        limit: int = 10,
        labels: Sequence[str] = (),
        with_maps: bool = False,
        overlays: bool = False,
        overlay_size_px: int = 512,
        box_share: float = 0.5,
        gallery: str | None = None,
    ) -> results.SearchResult:
        """Order candidates by how much of their similarity lies in regions of the query, of the match, or of both.

        query_regions, match_regions: parts that count; empty for all of it, and at least one of the two is given.
        candidates: names of images; empty for the `candidate_limit` most similar images.
        labels: only images with one of these labels are candidates; not together with `candidates`.
        The rest is as in `search`.
        """
        request = await asyncio.to_thread(
            requests_search.rerank,
            query,
            gallery or self.gallery,
            query_regions=query_regions,
            match_regions=match_regions,
            candidates=candidates,
            candidate_limit=candidate_limit,
            limit=limit,
            labels=labels,
            with_maps=with_maps,
            overlays=overlays,
            overlay_size_px=overlay_size_px,
            box_share=box_share,
        )
        return answers_search.search_result(await self._call(self._search.Rerank, request))

    async def explain_match(
        self,
        query: ImageInput | Stored,
        match: ImageInput | Stored,
        *,
        query_regions: Sequence[RegionInput] = (),
        match_regions: Sequence[RegionInput] = (),
        channel_limit: int = 10,
        correspondence_limit: int = 10,
        overlays: bool = False,
        overlay_size_px: int = 512,
        box_share: float = 0.5,
        gallery: str | None = None,
    ) -> results.MatchExplanation:
        """Return why two images match: the similarity maps of both, which add up to the score.

        query_regions, match_regions: parts to explain, for example one point; the map of the other image then shows
            what corresponds to them.
        channel_limit: how many of the leading channels to return.
        correspondence_limit: how many pairs of corresponding cells to return, at most 1000.
        gallery: whose head both embeddings go through; None means the gallery of a `Stored` match, else that of a
            `Stored` query, else no head.
        The rest is as in `search`.
        """
        request = await asyncio.to_thread(
            requests_explain.explain_match,
            query,
            match,
            gallery or self.gallery,
            head_of=gallery,
            query_regions=query_regions,
            match_regions=match_regions,
            channel_limit=channel_limit,
            correspondence_limit=correspondence_limit,
            overlays=overlays,
            overlay_size_px=overlay_size_px,
            box_share=box_share,
        )
        return answers_explain.explanation(await self._call(self._explain.ExplainMatch, request))

    async def explain_label(
        self,
        query: ImageInput | Stored,
        label: str,
        *,
        overlays: bool = False,
        overlay_size_px: int = 512,
        box_share: float = 0.5,
        gallery: str | None = None,
    ) -> results.LabelExplanation:
        """Return where the mean similarity of `query` to all images of `label` lies."""
        request = await asyncio.to_thread(
            requests_explain.explain_label,
            query,
            label,
            gallery or self.gallery,
            overlays=overlays,
            overlay_size_px=overlay_size_px,
            box_share=box_share,
        )
        return answers_explain.label_explanation(await self._call(self._explain.ExplainLabel, request))

    async def explain_components(
        self, *, pair_count: int = 1000, seed: int = 0, gallery: str | None = None
    ) -> results.ComponentShares:
        """Return how few channels carry a similarity, over random pairs of images of one label."""
        request = requests_explain.explain_components(gallery or self.gallery, pair_count=pair_count, seed=seed)
        return answers_explain.component_shares(await self._call(self._explain.ExplainComponents, request))

    async def explain_interactive(
        self,
        image: ImageInput | Stored,
        settings: Sequence[results.InterActiveSetting],
        *,
        size_px: int | None = None,
        warp: bool = False,
        descriptor: str | None = None,
        overlays: bool = False,
        overlay_size_px: int = 512,
    ) -> results.InterActiveExplanation:
        """Return how active the neurons of some layers are for an image, as InterActive weighs them.

        settings: layers, what supervises each, and with which norm.
        size_px: the network's input has about that many pixels squared; None means 512.
        warp: squeeze the image to a square instead of keeping its shape.
        descriptor: how to pool the weighted responses into a vector, `average` or `max`; None for no descriptors.
        """
        request = await asyncio.to_thread(
            requests_explain.explain_interactive,
            image,
            settings,
            self.gallery,
            size_px=size_px,
            warp=warp,
            descriptor=descriptor,
            overlays=overlays,
            overlay_size_px=overlay_size_px,
        )
        return answers_explain.interactive_explanation(await self._call(self._explain.ExplainInterActive, request))

    async def explain_prediction_difference(
        self,
        image: ImageInput | Stored,
        targets: Sequence[PredictionTarget],
        *,
        window_px: int = 10,
        context_px: int | None = None,
        sample_count: int = 20,
        stride_px: int = 4,
        sampler: SamplerKind = "conditional",
        seed: int = 0,
        max_standard_error: float | None = None,
        batch_size: int | None = None,
        training_image_count: int | None = None,
        refit_sampler: bool = False,
        with_sensitivity: bool = False,
        overlays: bool = False,
        overlay_size_px: int = 512,
        deadline_s: float | None = None,
        progress: Callable[[results.PredictionDifferenceExplanation], None] | None = None,
        gallery: str | None = None,
    ) -> results.PredictionDifferenceExplanation:
        """Return what each part of an image is worth for what the model makes of it, by taking the part as unknown.

        targets: what is to be explained, 1 to 32; all are computed together and cost little more than one.
        window_px: k, a window of k x k pixels of the network's input is unknown at a time.
        context_px: l, the window is told from the rest of the l x l pixels around it; None means k + 4.
        sample_count: S, how many samples replace each window.
        stride_px: pixels from one window to the next, at most k.
        sampler: `conditional` draws from a normal distribution of the gallery's patches, given the pixels around;
            `marginal` takes what other images have there; `mean` takes the conditional mean, once, for a preview.
        max_standard_error: stop sooner if no pixel's standard error is larger; None for all samples.
        batch_size: altered images that go through the network at once; None lets the server choose.
        training_image_count: how many images the classifier learned from; None means ImageNet's.
        refit_sampler: fit the normal distribution anew, which is otherwise fitted once for a gallery and kept.
        with_sensitivity: ask for the sensitivity maps, too.
        deadline_s: how long the whole call may take, None for ever; `timeout_s` is for the server's next word alone.
        progress: called with how far it is, every second at least, and now and then with partial maps.
        gallery: where samples come from, and neighbors for evidence.

        If it fails once maps have arrived, the error's `partial` has them, and `resume_prediction_difference` goes on.
        """
        request = await asyncio.to_thread(
            requests_difference.prediction_difference,
            image,
            targets,
            gallery or self.gallery,
            window_px=window_px,
            context_px=context_px,
            sample_count=sample_count,
            stride_px=stride_px,
            sampler=sampler,
            seed=seed,
            max_standard_error=max_standard_error,
            batch_size=batch_size,
            training_image_count=training_image_count,
            refit_sampler=refit_sampler,
            with_sensitivity=with_sensitivity,
            overlays=overlays,
            overlay_size_px=overlay_size_px,
        )
        return await self._follow(request, Following(targets, progress), deadline_s)

    async def resume_prediction_difference(
        self,
        name: str,
        *,
        overlays: bool = False,
        overlay_size_px: int = 512,
        deadline_s: float | None = None,
        progress: Callable[[results.PredictionDifferenceExplanation], None] | None = None,
    ) -> results.PredictionDifferenceExplanation:
        """Go on with an explanation by its name, or get its maps again; the server keeps it for 15 minutes.

        The rest is as in `explain_prediction_difference`.
        """
        request = requests_difference.resume_prediction_difference(
            name, overlays=overlays, overlay_size_px=overlay_size_px
        )
        return await self._follow(request, Following((), progress), deadline_s)

    async def embed(
        self, image: ImageInput | Stored, *, with_feature_map: bool = False, gallery: str | None = None
    ) -> results.Embedding:
        """Return the embedding of an image and, on request, the feature map that it was pooled from.

        gallery: whose head the embedding goes through, as a search there needs it; None means the gallery of a `Stored`
            image, and no head for any other image.
        """
        request = await asyncio.to_thread(
            requests_embed.embed, image, gallery or self.gallery, head_of=gallery, with_feature_map=with_feature_map
        )
        return answers_embed.embedding(await self._call(self._embed.EmbedImage, request))

    async def model(self) -> results.Model:
        """Return what is known of the server's model."""
        return answers_embed.model(await self._call(self._embed.GetModel, embed_service_pb2.GetModelRequest()))

    # Images of a gallery

    async def add(
        self,
        images: Iterable[NewImage | ImageInput] | AsyncIterable[NewImage | ImageInput],
        *,
        gallery: str | None = None,
    ) -> AsyncIterator[results.Added]:
        """Add images and yield, in their order, what became of each; nothing is added before you iterate.

        Files are read one by one as the server takes them. An image that the server refuses comes with its `error` and
        the others go on; a file that cannot be read ends the stream with its own exception, after the answers to all
        images before it. Whatever was answered is on disk, also if you stop early.
        """
        pace = Pace()
        broken: list[Exception] = []

        async def outgoing() -> AsyncIterator[gallery_service_pb2.AddImagesRequest]:
            try:
                async for image in _each(images):
                    request = await asyncio.to_thread(requests_gallery.add, image, gallery or self.gallery)
                    pace.send()
                    yield request
            except Exception as error:
                broken.append(error)

        call = self._galleries.AddImages(outgoing(), metadata=self._metadata)
        async with aclosing(self._answers(call, pace)) as answers:
            async for answer in answers:
                yield answers_gallery.added(answer)
        if broken:
            raise broken[0]
        if pace.unanswered:
            raise unanswered(pace.unanswered)

    async def add_image(
        self,
        content: ImageInput,
        *,
        name: str = "",
        label: str = "",
        metadata: dict[str, str] | None = None,
        gallery: str | None = None,
    ) -> results.Added:
        """Add one image; a path needs no name. Raises if the server refuses it."""
        new = NewImage(content, name, label, metadata or {})
        [added] = [answer async for answer in self.add([new], gallery=gallery)]
        if added.error:
            raise added.error
        return added

    async def get(self, name: str, *, gallery: str | None = None) -> results.Image:
        """Return what is known of one image."""
        request = gallery_service_pb2.GetImageRequest(name=requests_shapes.image_path(gallery or self.gallery, name))
        return answers_gallery.image(await self._call(self._galleries.GetImage, request))

    async def list(self, *, gallery: str | None = None) -> AsyncIterator[results.Image]:
        """Yield the images of a gallery by name, a page at a time."""
        parent = requests_shapes.gallery_path(gallery or self.gallery)
        request = gallery_service_pb2.ListImagesRequest(parent=parent, page_size=PAGE_SIZE)
        while True:
            page = await self._call(self._galleries.ListImages, request)
            for message in page.images:
                yield answers_gallery.image(message)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def delete(self, name: str, *, gallery: str | None = None) -> None:
        """Delete one image."""
        request = gallery_service_pb2.DeleteImageRequest(name=requests_shapes.image_path(gallery or self.gallery, name))
        await self._call(self._galleries.DeleteImage, request)

    async def content(self, name: str, *, gallery: str | None = None) -> bytes:
        """Return the bytes of an image exactly as they were added."""
        request = gallery_service_pb2.GetImageContentRequest(
            name=requests_shapes.image_path(gallery or self.gallery, name)
        )
        return (await self._call(self._galleries.GetImageContent, request)).content

    # Galleries

    async def create_gallery(
        self, name: str, *, index_factory: str = "auto", omit_feature_maps: bool = False
    ) -> results.Gallery:
        """Make an empty gallery.

        index_factory: a FAISS factory string, or `auto`: exact while exact is fast.
        omit_feature_maps: smaller on disk, but each map then embeds the stored image again.
        """
        request = requests_gallery.create_gallery(
            name, index_factory=index_factory, omit_feature_maps=omit_feature_maps
        )
        return answers_gallery.gallery(await self._call(self._galleries.CreateGallery, request))

    async def get_gallery(self, name: str) -> results.Gallery:
        """Return what is known of one gallery."""
        request = gallery_service_pb2.GetGalleryRequest(name=requests_shapes.gallery_path(name))
        return answers_gallery.gallery(await self._call(self._galleries.GetGallery, request))

    async def galleries(self) -> AsyncIterator[results.Gallery]:
        """Yield the galleries of the server by name, a page at a time."""
        request = gallery_service_pb2.ListGalleriesRequest(page_size=PAGE_SIZE)
        while True:
            page = await self._call(self._galleries.ListGalleries, request)
            for message in page.galleries:
                yield answers_gallery.gallery(message)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def set_head(
        self,
        kind: HeadKind,
        *,
        dimensions: int | None = None,
        weight: ArrayLike | None = None,
        bias: ArrayLike | None = None,
        progress: Callable[[int, int], None] | None = None,
        gallery: str | None = None,
    ) -> results.Gallery:
        """Give a gallery another head, and so new embeddings of its images, and return what it has become.

        kind: `centering` takes off the mean of the gallery, `whitening` also turns to its principal directions and
            brings each to the same variance, `linear` is a given layer, `none` takes the head away.
        dimensions: how many directions `whitening` keeps; None lets the server choose.
        weight: (D, C) of a `linear` layer, for embeddings of D values from the C channels of the model.
        bias: (D,); None means zeros.
        progress: called with the number of images that the head has been fitted to so far, and of all that there are.

        Until it returns, searches find the old embeddings, which stay if it fails.
        """
        request = await asyncio.to_thread(
            requests_gallery.set_head, gallery or self.gallery, kind, dimensions=dimensions, weight=weight, bias=bias
        )
        changed = None
        async with aclosing(self._stream(self._galleries.SetHead, request)) as answers:
            async for answer in answers:
                if answer.HasField("gallery"):
                    changed = answers_gallery.gallery(answer.gallery)
                elif progress:
                    progress(answer.progress.done, answer.progress.total)
        if changed is None:
            raise unfinished("the gallery had its head; set it again")
        return changed

    async def delete_gallery(self, name: str) -> None:
        """Delete a gallery and everything in it."""
        await self._call(
            self._galleries.DeleteGallery,
            gallery_service_pb2.DeleteGalleryRequest(name=requests_shapes.gallery_path(name)),
        )

    async def _follow(
        self,
        request: explain_service_pb2.ExplainPredictionDifferenceRequest,
        following: Following,
        deadline_s: float | None,
    ) -> results.PredictionDifferenceExplanation:
        """Ask for prediction difference, and return what it is in the end."""
        stream = self._stream(self._explain.ExplainPredictionDifference, request, deadline_s)
        try:
            async with aclosing(stream) as answers:
                async for answer in answers:
                    following.take(answer)
        except WhymatchError as error:
            raise following.failure(error) from None
        return following.completed()

    async def _call(self, method: Callable[..., Awaitable[Response]], request: Any) -> Response:
        """Call `method` with the deadline and the token; raise our errors."""
        try:
            return await method(request, timeout=self.timeout_s, metadata=self._metadata)
        except grpc.RpcError as failure:
            raise from_grpc(failure, self.address) from None

    async def _stream(
        self,
        method: Callable[..., grpc.aio.UnaryStreamCall[Any, Response]],
        request: Any,
        deadline_s: float | None = None,
    ) -> AsyncGenerator[Response, None]:
        """Yield the many answers to one request."""
        pace = Pace()
        pace.send()
        call = method(request, timeout=deadline_s, metadata=self._metadata)
        async with aclosing(self._answers(call, pace, deadline_s)) as answers:
            async for answer in answers:
                pace.send()  # the next one is now due
                yield answer

    async def _answers(
        self,
        call: grpc.aio.UnaryStreamCall[Any, Response] | grpc.aio.StreamStreamCall[Any, Response],
        pace: Pace,
        deadline_s: float | None = None,
    ) -> AsyncGenerator[Response, None]:
        """Yield the answers of a stream; cancel it once one takes too long, or the caller wants no more."""
        watch = asyncio.create_task(self._watch(pace, call))
        try:
            pace.listen()
            async for answer in call:
                pace.answer()
                yield answer
                pace.listen()
        except grpc.RpcError as failure:
            raise from_grpc(failure, self.address, deadline_s) from None
        except asyncio.CancelledError:
            if watch.done():
                raise stall(self.timeout_s) from None
            raise
        finally:
            watch.cancel()
            call.cancel()

    async def _watch(self, pace: Pace, call: grpc.aio.Call) -> None:
        """Cancel `call` once an answer takes too long."""
        while self.timeout_s is None or pace.waiting_s() <= self.timeout_s:
            await asyncio.sleep(min(1.0, (self.timeout_s or 1.0) / 4))
        call.cancel()


async def _each(images: Iterable[Response] | AsyncIterable[Response]) -> AsyncIterator[Response]:
    """Yield the items of either kind of iterable."""
    if isinstance(images, AsyncIterable):
        async for image in images:
            yield image
    else:
        for image in images:
            yield image
