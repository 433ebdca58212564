"""The client: searches, galleries and explanations, with a deadline on every call.

`client.py` is generated from `aio.py`, and `units.py` from `units_aio.py`, by `make generate`.
"""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Self, Unpack

from numpy.typing import ArrayLike

from whymatch.client import results
from whymatch.client.channel import DEFAULT_ADDRESS, DEFAULT_GALLERY, DEFAULT_TIMEOUT_S, Access, PathInput
from whymatch.client.errors import AlreadyExists, WhymatchError
from whymatch.client.following import Following
from whymatch.client.inputs import (
    ExampleInput,
    HeadKind,
    ImageInput,
    Label,
    MetadataValue,
    NewImage,
    Query,
    RegionInput,
    SamplerKind,
    SearchOptions,
    Stored,
    require_several,
)
from whymatch.client.reminder import Reminder
from whymatch.client.retrying import RETRIES
from whymatch.client.targets import PredictionTarget
from whymatch.client.transport_aio import AsyncTransport, Several, beside, each
from whymatch.client.units_aio import AsyncUnits
from whymatch.client.wire import (
    answers_difference,
    answers_embed,
    answers_explain,
    answers_gallery,
    answers_search,
    answers_server,
    requests_difference,
    requests_embed,
    requests_explain,
    requests_gallery,
    requests_search,
    requests_server,
)
from whymatch.client.wire.failures import unfinished
from whymatch.client.wire.requests_difference import DifferenceRequest


class AsyncClient:
    """Talks to one server; close it, or use it in a `with` block (`async with` for the async client).

    A `Client` may be shared between threads; an `AsyncClient` belongs to the event loop that it is made in.
    """

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
        retries: int = RETRIES,
    ) -> None:
        """Prepare to call the server at `address`; the connection is made with the first call.

        gallery: the gallery of every call that names no other.
        timeout_s: how long a call, or one answer of a stream, may take; None waits for ever.
        token: sent with every call; without TLS anyone on the way can read it.
        tls: encrypt, and trust the certificate authorities of this machine.
        ca_certificate: encrypt, and trust only the authorities of this PEM file.
        client_certificate, client_key: PEM files that prove who the client is.
        retries: how often a call that only reads is tried again, within `timeout_s`, when the server is busy or away.
        """
        self.gallery = gallery
        access = Access(token, tls, ca_certificate, client_certificate, client_key)
        self._use(AsyncTransport(address, timeout_s, access, retries))

    def _use(self, transport: AsyncTransport) -> None:
        self._transport, self._call, self._stubs = transport, transport.call, transport.stubs
        self.address = transport.address
        self.units = AsyncUnits(transport, lambda: self.gallery)
        """What the units of the network respond to."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.address!r}, gallery={self.gallery!r})"

    def with_timeout(self, timeout_s: float | None) -> Self:
        """Return a client with another `timeout_s`, for a single call: `client.with_timeout(5).search(query)`.

        It shares the connection: whichever of the two is closed, both are.
        """
        other = copy.copy(self)
        other._use(self._transport.with_timeout(timeout_s))
        return other

    @property
    def timeout_s(self) -> float | None:
        """How long a call, or one answer of a stream, may take in seconds; None waits for ever. It can be set."""
        return self._transport.timeout_s

    @timeout_s.setter
    def timeout_s(self, seconds: float | None) -> None:
        self._transport.timeout_s = seconds

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; calls that still run are canceled."""
        await self._transport.close()

    # Finding and explaining

    async def search(
        self,
        query: Query | None = None,
        *,
        like: Sequence[ExampleInput] = (),
        unlike: Sequence[ExampleInput] = (),
        limit: int | None = None,
        labels: Sequence[str] = (),
        regions: Sequence[RegionInput] = (),
        ignore: Sequence[RegionInput] = (),
        best_per_label: bool = False,
        with_maps: bool = False,
        overlays: bool | int = False,
        box_share: float | None = None,
        exclude_itself: bool = False,
        diversity: float | None = None,
        fold_above: float | None = None,
        filter: str = "",
        min_score: float | None = None,
        exclude: Sequence[str] = (),
        at_generation: int | None = None,
        gallery: str | None = None,
    ) -> results.SearchResult:
        """Return the images that are most similar to `query`, or to examples, best first.

        Numbers that are None are left to the server, here and everywhere.

        query: a file's path or bytes, an open file, a Pillow picture, a `Stored` image, an embedding that `embed`
            returned, which is refused if another model or head made it, or a bare vector, which is not checked.
        like, unlike: instead of a query, what matches are to be like and unlike: what a query can be, or an `Example`
            with regions and a weight, at most 32 together. Each match then has the `shares` of the examples.
        limit: how many matches; None means 10.
        labels: only images with one of these labels match; empty for all.
        regions: parts of the query image that alone decide the order; empty for the whole image. If none has a weight
            above 0, the rest of the image counts with 1.
        ignore: parts of the query image that do not count, as regions of weight 0.
        best_per_label: the best match of each label only, for the `limit` best labels.
        with_maps: ask where each similarity lies, in the query and in the match.
        overlays: ask for the maps and their pictures; a number is the longer side of the pictures in pixels.
        box_share: how much of a map's positive values its `best_box` holds, above 0 and up to 1; None means 0.5.
        exclude_itself: leave out every stored image with the query's own bytes, or with those of an example; not with
            an embedding.
        diversity: from 0, the best matches, to 1, the most different ones: how much a match shall differ from those
            before it (maximal marginal relevance, lambda = 1 - diversity). They are chosen from the best 10 x `limit`.
        fold_above: -1 to 1; a match that is at least so similar to a better one is in that one's `folded`. Of the best
            10 x `limit`; None folds nothing.
        filter: only images that it holds for match, such as `label = "cat" AND metadata.year >= 2020`.
        min_score: leave out matches that score less.
        exclude: names of images to leave out; as many others match.
        at_generation: search the gallery as it was then; None means now.
        """
        request = await beside(
            requests_search.search,
            query,
            gallery or self.gallery,
            like=like,
            unlike=unlike,
            limit=limit,
            labels=labels,
            regions=regions,
            ignore=ignore,
            best_per_label=best_per_label,
            with_maps=with_maps,
            overlays=overlays,
            box_share=box_share,
            exclude_itself=exclude_itself,
            diversity=diversity,
            fold_above=fold_above,
            filter=filter,
            min_score=min_score,
            exclude=exclude,
            at_generation=at_generation,
        )
        return answers_search.search_result(await self._call(self._stubs.search.Search, request))

    async def search_several(
        self, queries: Sequence[Query], *, gallery: str | None = None, **options: Unpack[SearchOptions]
    ) -> list[results.SearchResult]:
        """Return the matches of each of several queries, in their order, with one call.

        queries: 1 to 100, each as in `search`, which also explains the `options`.
        """
        request = await beside(requests_search.several, queries, gallery or self.gallery, **options)
        return answers_search.search_results(await self._call(self._stubs.search.BatchSearch, request))

    async def search_pages(
        self, query: Query, *, gallery: str | None = None, **options: Unpack[SearchOptions]
    ) -> AsyncIterator[results.SearchResult]:
        """Yield the matches of a long search a page at a time, best first, up to 10,000.

        All pages are of the generation of the first one, whatever the gallery becomes meanwhile. `limit` is how many
        matches a page has; the other `options` are those of `search`.
        """
        request = await beside(requests_search.search, query, gallery or self.gallery, **options)
        while True:
            answer = await self._call(self._stubs.search.Search, request)
            if page := answers_search.search_result(answer):
                yield page
            if not requests_search.turn_page(request, answer):
                return

    async def duplicates(
        self,
        *,
        above: float,
        filter: str = "",
        at_generation: int | None = None,
        progress: Callable[[int, int], None] | None = None,
        gallery: str | None = None,
    ) -> results.Duplicates:
        """Return groups of near duplicates, the largest first; all pairs of images are compared.

        above: two images are near duplicates if the cosine similarity of their embeddings is at least this, -1 to 1; a
            group holds all that are, directly or by way of others.
        filter: only images that it holds for; empty for all.
        at_generation: the gallery as it was then; None means now.
        progress: called with the number of images that have been compared with all others so far, and of all.
        """
        request = requests_search.duplicates(gallery or self.gallery, above, filter, at_generation)
        origin, groups = None, []
        async with aclosing(self._transport.stream(self._stubs.search.FindDuplicates, request)) as answers:
            async for answer in answers:
                origin = origin or answers_search.duplicates_origin(answer)
                found = answers_search.duplicates(answer)
                if isinstance(found, results.DuplicateGroup):
                    groups.append(found)
                elif progress:
                    progress(found.done, found.total)
        return results.Duplicates(tuple(groups), origin)

    async def rerank(
        self,
        query: ImageInput | Stored,
        *,
        query_regions: Sequence[RegionInput] = (),
        match_regions: Sequence[RegionInput] = (),
        candidates: Sequence[str] = (),
        candidate_limit: int | None = None,
        limit: int | None = None,
        labels: Sequence[str] = (),
        with_maps: bool = False,
        overlays: bool | int = False,
        box_share: float | None = None,
        exclude_itself: bool = False,
        filter: str = "",
        min_score: float | None = None,
        exclude: Sequence[str] = (),
        at_generation: int | None = None,
        gallery: str | None = None,
    ) -> results.SearchResult:
        """Order candidates by how much of their similarity lies in regions of the query, of the match, or of both.

        query_regions, match_regions: parts that count; empty for all of it, and at least one of the two is given.
        candidates: names of images; empty for the `candidate_limit` most similar images, None means 100.
        labels: only images with one of these labels are candidates; not together with `candidates`.
        filter: only images that it holds for are candidates; not together with `candidates`.
        min_score, exclude, at_generation: as in `search`, and so is the rest.
        """
        request = await beside(
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
            box_share=box_share,
            exclude_itself=exclude_itself,
            filter=filter,
            min_score=min_score,
            exclude=exclude,
            at_generation=at_generation,
        )
        return answers_search.search_result(await self._call(self._stubs.search.Rerank, request))

    async def explain_match(
        self,
        query: ImageInput | Stored,
        match: ImageInput | Stored,
        *,
        query_regions: Sequence[RegionInput] = (),
        match_regions: Sequence[RegionInput] = (),
        channel_limit: int | None = None,
        correspondence_limit: int | None = None,
        overlays: bool | int = False,
        box_share: float | None = None,
        at_generation: int | None = None,
        gallery: str | None = None,
    ) -> results.MatchExplanation:
        """Return why two images match: the similarity maps of both, which add up to the score.

        query_regions, match_regions: parts to explain, for example one point; the map of the other image then shows
            what corresponds to them.
        channel_limit: how many of the leading channels to return; None means 10.
        correspondence_limit: how many pairs of corresponding cells to return, at most 1000; None means 10.
        gallery: whose head both embeddings go through; None means the gallery of a `Stored` match, else that of a
            `Stored` query, else no head.
        at_generation: that gallery as it was then, its head and its images; None means now.
        The rest is as in `search`.
        """
        request = await beside(
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
            box_share=box_share,
            at_generation=at_generation,
        )
        return answers_explain.explanation(await self._call(self._stubs.explain.ExplainMatch, request))

    async def explain_label(
        self,
        query: ImageInput | Stored,
        label: str,
        *,
        overlays: bool | int = False,
        box_share: float | None = None,
        filter: str = "",
        at_generation: int | None = None,
        gallery: str | None = None,
    ) -> results.LabelExplanation:
        """Return where the mean similarity of `query` to all images of `label` lies.

        filter: only images of the label that it holds for count; see `search`.
        at_generation: the gallery as it was then; None means now.
        """
        request = await beside(
            requests_explain.explain_label,
            query,
            label,
            gallery or self.gallery,
            overlays=overlays,
            box_share=box_share,
            filter=filter,
            at_generation=at_generation,
        )
        return answers_explain.label_explanation(await self._call(self._stubs.explain.ExplainLabel, request))

    async def explain_ranking(
        self,
        query: ImageInput | Stored,
        first: ImageInput | Stored | Label,
        second: ImageInput | Stored | Label,
        *,
        query_regions: Sequence[RegionInput] = (),
        channel_limit: int | None = None,
        cell_limit: int | None = None,
        overlays: bool | int = False,
        box_share: float | None = None,
        at_generation: int | None = None,
        gallery: str | None = None,
    ) -> results.RankingExplanation:
        """Return why `query` is more similar to `first` than to `second`: where the gap between both scores lies.

        first, second: images, or a `Label` for the mean over all its other images.
        query_regions: parts of the query that alone count.
        channel_limit, cell_limit: how many of the leading channels, and of the leading cells of the query, to return;
            None means 10.
        at_generation: that gallery as it was then, its head, its labels and its images; None means now.
        gallery: as in `explain_match`; with a `Label` None means the client's gallery.
        The rest is as in `search`.
        """
        request = await beside(
            requests_explain.explain_ranking,
            query,
            first,
            second,
            gallery or self.gallery,
            head_of=gallery,
            query_regions=query_regions,
            channel_limit=channel_limit,
            cell_limit=cell_limit,
            overlays=overlays,
            box_share=box_share,
            at_generation=at_generation,
        )
        return answers_explain.ranking(await self._call(self._stubs.explain.ExplainRanking, request))

    async def explain_rank(
        self,
        query: ImageInput | Stored,
        name: str,
        *,
        limit: int | None = None,
        query_regions: Sequence[RegionInput] = (),
        exclude_itself: bool = False,
        at_generation: int | None = None,
        gallery: str | None = None,
    ) -> results.Standing:
        """Return where the stored image `name` stands among all for `query`, whatever the index.

        limit: how many matches it should be among; None means 10.
        query_regions: parts of the query that alone count.
        exclude_itself: leave out every other stored image with the query's own bytes.
        at_generation: the gallery as it was then; None means now.
        """
        request = await beside(
            requests_explain.explain_rank,
            query,
            name,
            gallery or self.gallery,
            limit=limit,
            query_regions=query_regions,
            exclude_itself=exclude_itself,
            at_generation=at_generation,
        )
        return answers_explain.standing(await self._call(self._stubs.explain.ExplainRank, request))

    async def explain_neighbors(
        self,
        query: ImageInput | Stored,
        *,
        limit: int | None = None,
        label_limit: int | None = None,
        query_regions: Sequence[RegionInput] = (),
        at_generation: int | None = None,
        gallery: str | None = None,
    ) -> results.Neighborhood:
        """Return which labels the images nearest to `query` have, and which labels speak for and against it.

        limit: how many of the most similar images are its neighbors, at most 1000; None means 50.
        label_limit: how many labels to return of those that speak most for it, and against it; None means 10.
        query_regions: parts of the query that alone count.
        at_generation: the gallery as it was then; None means now.
        """
        request = await beside(
            requests_explain.explain_neighbors,
            query,
            gallery or self.gallery,
            limit=limit,
            label_limit=label_limit,
            query_regions=query_regions,
            at_generation=at_generation,
        )
        return answers_explain.neighborhood(await self._call(self._stubs.explain.ExplainNeighbors, request))

    async def explain_components(
        self,
        *,
        pair_count: int | None = None,
        seed: int | None = None,
        filter: str = "",
        at_generation: int | None = None,
        gallery: str | None = None,
    ) -> results.ComponentShares:
        """Return how few channels carry a similarity, over random pairs of images of one label.

        pair_count: how many pairs to draw, at most 10,000; None means 1000.
        seed: makes the draw repeatable; None means 0.
        filter: only images that it holds for are drawn; see `search`.
        at_generation: the gallery as it was then; None means now.
        """
        request = requests_explain.explain_components(
            gallery or self.gallery, pair_count=pair_count, seed=seed, filter=filter, at_generation=at_generation
        )
        return answers_explain.component_shares(await self._call(self._stubs.explain.ExplainComponents, request))

    async def explain_interactive(
        self,
        image: ImageInput | Stored,
        settings: Sequence[results.InterActiveSetting],
        *,
        size_px: int | None = None,
        warp: bool = False,
        descriptor: str | None = None,
        overlays: bool | int = False,
    ) -> results.InterActiveExplanation:
        """Return how active the neurons of some layers are for an image, as InterActive weighs them.

        settings: layers, what supervises each, and with which norm.
        size_px: the network's input has about that many pixels squared; None means 512.
        warp: squeeze the image to a square instead of keeping its shape.
        descriptor: how to pool the weighted responses into a vector, `average` or `max`; None for no descriptors.
        """
        request = await beside(
            requests_explain.explain_interactive,
            image,
            settings,
            self.gallery,
            size_px=size_px,
            warp=warp,
            descriptor=descriptor,
            overlays=overlays,
        )
        return answers_explain.interactive_explanation(
            await self._call(self._stubs.explain.ExplainInterActive, request)
        )

    async def explain_prediction_difference(
        self,
        image: ImageInput | Stored,
        targets: Sequence[PredictionTarget],
        *,
        window_px: int | None = None,
        context_px: int | None = None,
        sample_count: int | None = None,
        stride_px: int | None = None,
        sampler: SamplerKind | None = None,
        seed: int | None = None,
        max_standard_error: float | None = None,
        batch_size: int | None = None,
        training_image_count: int | None = None,
        refit_sampler: bool = False,
        with_sensitivity: bool = False,
        layer: str | None = None,
        overlays: bool | int = False,
        deadline_s: float | None = None,
        progress: Callable[[results.PredictionDifferenceExplanation], None] | None = None,
        gallery: str | None = None,
    ) -> results.PredictionDifferenceExplanation:
        """Return what each part of an image is worth for what the model makes of it, by taking the part as unknown.

        targets: what is to be explained, 1 to 32; all are computed together and cost little more than one.
        window_px: k, a window of k x k pixels of the network's input is unknown at a time; None means 10.
        context_px: l, the window is predicted from the rest of the l x l pixels around it; None means k + 4.
        sample_count: S, how many samples replace each window; None means 20.
        stride_px: pixels from one window to the next, at most k; None means 4.
        seed: makes the samples repeatable; None means 0.
        sampler: `conditional` draws from a normal distribution of the gallery's patches, given the pixels around,
            as None does; `marginal` takes what other images have there; `mean` takes the conditional mean, once, for
            a preview.
        max_standard_error: stop sooner if no pixel's standard error is larger; None for all samples.
        batch_size: altered images that go through the network at once; None lets the server choose.
        training_image_count: how many images the classifier learned from; None means ImageNet's.
        refit_sampler: fit the normal distribution anew, which is otherwise fitted once for a gallery and kept.
        with_sensitivity: also ask for the sensitivity maps.
        layer: take the cells of this layer as unknown, not the pixels; window, context and stride are then in cells,
            and None means 1, k + 2 and 1. Every target must depend on the layer.
        deadline_s: how long the whole call may take, None for ever; `timeout_s` is for the server's next word alone.
        progress: called with how far it is, every second at least, and now and then with partial maps.
        gallery: where samples come from, and neighbors for evidence.

        If it fails once maps have arrived, the error's `partial` has them, and `resume_prediction_difference` goes on.
        """
        request = await beside(
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
            layer=layer,
            overlays=overlays,
        )
        return await self._follow(request, Following(targets, progress), deadline_s)

    async def resume_prediction_difference(
        self,
        name: str,
        *,
        overlays: bool | int = False,
        deadline_s: float | None = None,
        progress: Callable[[results.PredictionDifferenceExplanation], None] | None = None,
    ) -> results.PredictionDifferenceExplanation:
        """Go on with an explanation by its name, or get its maps again; the server keeps it for 15 minutes.

        The rest is as in `explain_prediction_difference`.
        """
        request = requests_difference.resume_prediction_difference(name, overlays=overlays)
        return await self._follow(request, Following((), progress), deadline_s)

    async def embed(
        self, image: ImageInput | Stored, *, with_feature_map: bool = False, gallery: str | None = None
    ) -> results.Embedding:
        """Return the embedding of an image and, on request, the feature map that it was pooled from.

        gallery: whose head the embedding goes through, as a search there needs it; None means the gallery of a `Stored`
            image, and no head for any other image.
        """
        request = await beside(
            requests_embed.embed, image, gallery or self.gallery, head_of=gallery, with_feature_map=with_feature_map
        )
        return answers_embed.embedding(await self._call(self._stubs.embed.EmbedImage, request))

    async def model(self) -> results.Model:
        """Describe the model of the server."""
        return answers_embed.model(await self._call(self._stubs.embed.GetModel, requests_embed.model()))

    async def server_info(self) -> results.ServerInfo:
        """Describe the server: what runs, what it accepts, and how full its disk is."""
        return answers_server.info(await self._call(self._stubs.server.GetServerInfo, requests_server.info()))

    # Images of a gallery

    def add(
        self, images: Several[NewImage | ImageInput], *, replace: bool = False, gallery: str | None = None
    ) -> AsyncIterator[results.Added]:
        """Add images and yield, in their order, what became of each; nothing is added before you iterate.

        images: paths, open files, bytes or pictures with a name; or all images of folders, from `find_images`.
        replace: take the place of other images of these names, which are refused otherwise; each `NewImage` has its
            own `replace`, too. Bytes that the gallery holds are not embedded again.

        Files are read one by one as the server takes them, in another thread. An image that the server refuses comes
        with its `error` and the others go on; a file that cannot be read ends the stream with its own exception, after
        the answers to all images before it. Whatever was answered is on disk, also if you stop early.
        """
        require_several(images)
        unread = Reminder("nothing was added: iterate over what `add` returns, as in `for added in client.add(...)`")
        return self._add(images, gallery or self.gallery, replace, unread)

    async def _add(
        self, images: Several[NewImage | ImageInput], name: str, replace: bool, unread: Reminder
    ) -> AsyncIterator[results.Added]:
        unread.settle()
        new = (await beside(requests_gallery.add, image, name, replace) async for image in each(images))
        async with aclosing(self._transport.exchange(self._stubs.galleries.AddImages, new)) as answers:
            async for answer in answers:
                yield answers_gallery.added(answer)

    async def add_image(
        self,
        content: ImageInput,
        *,
        name: str = "",
        label: str = "",
        metadata: Mapping[str, MetadataValue] | None = None,
        replace: bool = False,
        gallery: str | None = None,
    ) -> results.Added:
        """Add one image; a path needs no name. Raises if the server refuses it.

        metadata: texts, finite numbers and booleans by key.
        replace: take the place of another image of this name.
        """
        new = NewImage(content, name, label, metadata or {}, replace)
        [added] = [answer async for answer in self.add([new], gallery=gallery)]
        if added.error:
            raise added.error
        return added

    async def update(
        self,
        name: str,
        *,
        label: str | None = None,
        metadata: Mapping[str, MetadataValue] | None = None,
        changed: Mapping[str, MetadataValue | None] | None = None,
        gallery: str | None = None,
    ) -> results.Image:
        """Change the label or the metadata of an image and return it; what is None stays, and nothing is embedded.

        label: empty for none.
        metadata: takes the place of all metadata.
        changed: metadata of some keys alone; a value of None removes its key.
        """
        request = requests_gallery.update(
            gallery or self.gallery, name, label=label, metadata=metadata, changed=changed or {}
        )
        return answers_gallery.image(await self._call(self._stubs.galleries.UpdateImage, request))

    async def get(self, name: str, *, at_generation: int | None = None, gallery: str | None = None) -> results.Image:
        """Describe one image, or what it was at_generation; None means now, here and everywhere."""
        request = requests_gallery.get_image(gallery or self.gallery, name, at_generation)
        return answers_gallery.image(await self._call(self._stubs.galleries.GetImage, request))

    async def get_several(
        self, names: Sequence[str], *, at_generation: int | None = None, gallery: str | None = None
    ) -> tuple[results.Image, ...]:
        """Describe up to 1000 images in one call, in the order of their names; at_generation is as in `get`."""
        request = requests_gallery.get_several(gallery or self.gallery, names, at_generation)
        return answers_gallery.several(await self._call(self._stubs.galleries.BatchGetImages, request))

    async def list(
        self, filter: str = "", *, at_generation: int | None = None, gallery: str | None = None
    ) -> AsyncIterator[results.Image]:
        """Yield the images of a gallery by name, a page at a time.

        filter: only images that it holds for, such as `label = "cat" AND metadata.year >= 2020`; empty for all.
        at_generation: as they were then; so all pages are of one state. None means now.
        """
        token = ""
        while True:
            request = requests_gallery.list_images(gallery or self.gallery, filter, at_generation, token)
            images, token = answers_gallery.images(await self._call(self._stubs.galleries.ListImages, request))
            for image in images:
                yield image
            if not token:
                return

    async def labels(
        self, filter: str = "", *, at_generation: int | None = None, gallery: str | None = None
    ) -> tuple[results.LabelCount, ...]:
        """Return the labels of a gallery in their order, with how many images have each, and how many have none.

        filter, at_generation: which images count, as in `list`.
        """
        request = requests_gallery.list_labels(gallery or self.gallery, filter, at_generation)
        return answers_gallery.labels(await self._call(self._stubs.galleries.ListLabels, request))

    async def delete(self, names: str | Sequence[str], *, gallery: str | None = None) -> None:
        """Delete one image or several, all of them or none; older generations keep them."""
        request = requests_gallery.delete(gallery or self.gallery, names)
        await self._call(self._stubs.galleries.DeleteImages, request)

    async def delete_where(self, filter: str, *, gallery: str | None = None) -> int:
        """Delete all images that a filter holds for, as in `list`, and return how many; older generations keep them."""
        request = requests_gallery.delete_where(gallery or self.gallery, filter)
        return answers_gallery.deleted(await self._call(self._stubs.galleries.DeleteImages, request))

    async def erase(self, names: str | Sequence[str], *, gallery: str | None = None) -> tuple[str, ...]:
        """Remove images for good: their bytes, under every name and in every generation, and what is derived of them.

        names: of now or of any generation that the gallery keeps. Returns all names that are gone.
        """
        request = requests_gallery.erase(gallery or self.gallery, names)
        return answers_gallery.erased(await self._call(self._stubs.galleries.EraseImages, request))

    async def content(self, name: str, *, at_generation: int | None = None, gallery: str | None = None) -> bytes:
        """Return the bytes of an image exactly as they were added; at_generation is as in `get`."""
        request = requests_gallery.get_image_content(gallery or self.gallery, name, at_generation)
        return answers_gallery.content(await self._call(self._stubs.galleries.GetImageContent, request))

    # Galleries

    async def create_gallery(
        self,
        name: str | None = None,
        *,
        exist_ok: bool = False,
        index_factory: str = "auto",
        omit_feature_maps: bool = False,
    ) -> results.Gallery:
        """Make an empty gallery.

        name: None means the client's own, `self.gallery`.
        exist_ok: if there is a gallery of that name, return it as it is.
        index_factory: a FAISS factory string, or `auto`: exact while exact is fast.
        omit_feature_maps: smaller on disk, but each map then embeds the stored image again.
        """
        name = self.gallery if name is None else name
        request = requests_gallery.create_gallery(
            name, index_factory=index_factory, omit_feature_maps=omit_feature_maps
        )
        try:
            return answers_gallery.gallery(await self._call(self._stubs.galleries.CreateGallery, request))
        except AlreadyExists:
            if exist_ok:
                return await self.get_gallery(name)
            raise

    async def get_gallery(self, name: str) -> results.Gallery:
        """Describe one gallery."""
        request = requests_gallery.get_gallery(name)
        return answers_gallery.gallery(await self._call(self._stubs.galleries.GetGallery, request))

    async def galleries(self) -> AsyncIterator[results.Gallery]:
        """Yield the galleries of the server by name, a page at a time."""
        token = ""
        while True:
            request = requests_gallery.list_galleries(token)
            found, token = answers_gallery.galleries(await self._call(self._stubs.galleries.ListGalleries, request))
            for one in found:
                yield one
            if not token:
                return

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
        request = await beside(
            requests_gallery.set_head, gallery or self.gallery, kind, dimensions=dimensions, weight=weight, bias=bias
        )
        async with aclosing(self._transport.stream(self._stubs.galleries.SetHead, request)) as answers:
            async for answer in answers:
                found = answers_gallery.head_set(answer)
                if isinstance(found, results.Gallery):
                    return found
                if progress:
                    progress(found.done, found.total)
        raise unfinished("the gallery had its head; set it again")

    async def generations(self, *, gallery: str | None = None) -> AsyncIterator[results.Generation]:
        """Yield the generations of a gallery that can be asked for, newest first, a page at a time."""
        token = ""
        while True:
            request = requests_gallery.list_generations(gallery or self.gallery, token)
            answer = await self._call(self._stubs.galleries.ListGenerations, request)
            found, token = answers_gallery.generations(answer)
            for one in found:
                yield one
            if not token:
                return

    async def tag(self, name: str, *, generation: int | None = None, gallery: str | None = None) -> results.Generation:
        """Give a generation a name, which keeps it from being purged; without a generation, the newest."""
        request = requests_gallery.tag(gallery or self.gallery, name, generation)
        return answers_gallery.generation(await self._call(self._stubs.galleries.TagGeneration, request))

    async def remove_tag(self, name: str, *, gallery: str | None = None) -> None:
        """Take a name off its generation."""
        await self._call(self._stubs.galleries.DeleteTag, requests_gallery.remove_tag(gallery or self.gallery, name))

    async def purge(self, before: int, *, gallery: str | None = None) -> results.Purged:
        """Forget the generations before one, and all that only they have.

        before: the first generation that is kept.
        """
        request = requests_gallery.purge(gallery or self.gallery, before)
        return answers_gallery.purged(await self._call(self._stubs.galleries.PurgeGallery, request))

    async def delete_gallery(self, name: str) -> None:
        """Delete a gallery and everything in it."""
        await self._call(self._stubs.galleries.DeleteGallery, requests_gallery.delete_gallery(name))

    async def _follow(
        self, request: DifferenceRequest, following: Following, deadline_s: float | None
    ) -> results.PredictionDifferenceExplanation:
        """Ask for prediction difference, and return what it is in the end."""
        stream = self._transport.stream(self._stubs.explain.ExplainPredictionDifference, request, deadline_s)
        try:
            async with aclosing(stream) as answers:
                async for answer in answers:
                    following.take(answers_difference.prediction_difference(answer, following.targets))
        except WhymatchError as error:
            raise following.failure(error) from None
        return following.completed()
