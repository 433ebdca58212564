"""What a client knows of the units of the server's network."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Any

from whymatch.client import results, unit_results
from whymatch.client.inputs import ImageInput, Stored
from whymatch.client.transport_aio import AsyncTransport, beside
from whymatch.client.wire import answers_unit, requests_unit
from whymatch.client.wire.failures import unfinished

ShowProgress = Callable[[results.Progress], None]


class AsyncUnits:
    """The units of a network: channels of its layers.

    Every method takes a `layer` by one of the names in `Model.layers`, or by the name of a module of the network, and
    `progress`, which is called with how far it is, every second at least. What a gallery says of a layer takes one pass
    over its images, which the server keeps: only new images are looked at again.
    """

    def __init__(self, transport: AsyncTransport, gallery: Callable[[], str]) -> None:
        """Call a server. `gallery` returns the gallery of calls that name no other."""
        self._stub = transport.stubs.units
        self._stream = transport.stream
        self._gallery = gallery

    async def describe(
        self,
        layer: str,
        channels: Sequence[int] = (),
        *,
        top_count: int | None = None,
        label_image_count: int | None = None,
        with_patches: bool = False,
        with_segments: bool = False,
        segment_quantile: float | None = None,
        with_colors: bool = False,
        selectivity: unit_results.SelectivitySetting | None = None,
        progress: ShowProgress | None = None,
        gallery: str | None = None,
    ) -> AsyncIterator[unit_results.UnitDescription]:
        """Yield what units respond to: their top images, and the labels of these.

        channels: empty for all of the layer.
        top_count: how many top images; None means 9, or as many as there are.
        label_image_count: over how many of them labels are counted; None means as many as the gallery's most frequent
            label has, but 9 at least and 60 at most.
        with_patches: ask for what the units see of their top images.
        with_segments: ask for the top images with what does not make the units respond darkened: a segment begins at
            the response that `segment_quantile` of the cells of the gallery's images do not exceed; None means 0.995.
        with_colors: ask for the colors of these patches; `selectivity` says how they are measured.
        """
        request = requests_unit.describe(
            layer,
            channels,
            gallery or self._gallery(),
            top_count=top_count,
            label_image_count=label_image_count,
            with_patches=with_patches,
            with_segments=with_segments,
            segment_quantile=segment_quantile,
            with_colors=with_colors,
            selectivity=selectivity,
        )
        async with aclosing(self._answers(self._stub.DescribeUnits, request, progress)) as answers:
            async for answer in answers:
                yield answers_unit.description(answer)

    async def filters(
        self,
        layer: str,
        channels: Sequence[int] = (),
        *,
        with_values: bool = False,
        thresholds: unit_results.ColorThresholds | None = None,
        progress: ShowProgress | None = None,
    ) -> AsyncIterator[unit_results.DecodedFilter]:
        """Yield what units look for, projected to image space without any image, and the class of its colors.

        channels: empty for all of the layer.
        with_values: ask for the numbers, beside the picture.
        """
        request = requests_unit.filters(layer, channels, with_values=with_values, thresholds=thresholds)
        async with aclosing(self._answers(self._stub.DecodeFilters, request, progress)) as answers:
            async for answer in answers:
                yield answers_unit.decoded_filter(answer)

    async def layer_colors(
        self,
        layer: str,
        channels: Sequence[int] = (),
        *,
        with_axes: bool = True,
        with_selectivity: bool = True,
        top_count: int | None = None,
        thresholds: unit_results.ColorThresholds | None = None,
        axes: unit_results.AxisSetting | None = None,
        selectivity: unit_results.SelectivitySetting | None = None,
        progress: ShowProgress | None = None,
        gallery: str | None = None,
    ) -> unit_results.LayerColors:
        """Return how a layer is about color.

        channels: empty for all of the layer.
        with_axes: ask for the classes of all decoded filters, and the color axes that follow.
        with_selectivity: ask how selective all units are, by the patches of `top_count` images each; None means 9.
        """
        request = requests_unit.layer_colors(
            layer,
            channels,
            gallery or self._gallery(),
            with_axes=with_axes,
            with_selectivity=with_selectivity,
            top_count=top_count,
            thresholds=thresholds,
            axes=axes,
            selectivity=selectivity,
        )
        async with aclosing(self._answers(self._stub.DescribeLayerColors, request, progress)) as answers:
            async for answer in answers:
                return answers_unit.layer_colors(answer)
        raise unfinished("it had looked at the layer")

    async def receptive_field(
        self,
        layer: str,
        channel: int,
        *,
        image_count: int | None = None,
        occluder: unit_results.OccluderSetting | None = None,
        progress: ShowProgress | None = None,
        gallery: str | None = None,
    ) -> unit_results.EmpiricalField:
        """Return what pixels a unit really responds to, found by occluding parts of its top images.

        image_count: K, how many top images; None means 10, or as many as there are.
        """
        request = requests_unit.receptive_field(
            layer, channel, gallery or self._gallery(), image_count=image_count, occluder=occluder
        )
        async with aclosing(self._answers(self._stub.FindReceptiveField, request, progress)) as answers:
            async for answer in answers:
                return answers_unit.field(answer)
        raise unfinished("it had found the field")

    async def segment(
        self,
        image: ImageInput | Stored,
        layer: str,
        channels: Sequence[int] = (),
        *,
        unit_limit: int | None = None,
        detector_precision: float | None = None,
        share: float | None = None,
        quantile: float | None = None,
        match_limit: int = 0,
        class_limit: int = 0,
        overlays: bool | int = False,
        progress: ShowProgress | None = None,
        gallery: str | None = None,
    ) -> unit_results.Segmentation:
        """Return where in an image units respond.

        channels: empty for those that respond to it most, as shares of their largest responses over the gallery;
            `unit_limit` says how many at most, None means 6.
        detector_precision: choose of the detectors of labels alone that have a segment in the image: at least this
            share of a detector's top images have its label.
        share: a segment begins at this share of the unit's largest response over the gallery; None means 0.5.
        quantile: it begins at the response that this share of the cells of the gallery's images does not exceed.
        match_limit: how many matches of the image to return as well.
        class_limit: how many classes; the network may have none.
        """
        request = await beside(
            requests_unit.segment,
            image,
            layer,
            channels,
            gallery or self._gallery(),
            unit_limit=unit_limit,
            detector_precision=detector_precision,
            share=share,
            quantile=quantile,
            match_limit=match_limit,
            class_limit=class_limit,
            overlays=overlays,
        )
        async with aclosing(self._answers(self._stub.SegmentUnits, request, progress)) as answers:
            return answers_unit.segmentation([answer async for answer in answers])

    async def minimal_image(
        self,
        image: ImageInput | Stored,
        *,
        class_name: str | None = None,
        segmentation: str = "slic",
        segment_count: int | None = None,
        fill: str = "gray",
        overlays: bool | int = False,
        progress: ShowProgress | None = None,
        gallery: str | None = None,
    ) -> AsyncIterator[unit_results.MinimalImageStep]:
        """Simplify an image as far as its prediction holds, and yield each step: first the whole, last the minimal one.

        class_name: the most likely class must stay the same, which is this one, or `top1` whichever it is; None means
            that the best match in the gallery must.
        segmentation: `slic`, parts of about the same size, or `felzenszwalb`, along edges.
        segment_count: about how many parts; None means 40. The network runs about as often as half its square.
        fill: `gray`, the mean color of the network's training images, or `blur`, the image out of focus.
        """
        request = await beside(
            requests_unit.minimal_image,
            image,
            gallery or self._gallery(),
            class_name=class_name,
            segmentation=segmentation,
            segment_count=segment_count,
            fill=fill,
            overlays=overlays,
        )
        async with aclosing(self._answers(self._stub.FindMinimalImage, request, progress)) as answers:
            async for answer in answers:
                yield answers_unit.minimal_image_step(answer)

    async def _answers(self, method: Any, request: Any, progress: ShowProgress | None) -> AsyncGenerator[Any]:
        """Yield the answers of a call, and report how far it is."""
        async with aclosing(self._stream(method, request)) as answers:
            async for answer in answers:
                how_far = answers_unit.progress(answer)
                if how_far is None:
                    yield answer
                elif progress:
                    progress(how_far)
