"""A real gRPC server with a tiny model that one can compute by hand.

An image's feature map is 1 x 2 cells: the mean color of its left and of its right half. Pooling is the average, so the
embedding is the mean color, scaled to length 1. Galleries are dictionaries. Of regions it knows boxes and points. Of a
head it knows the kind, which shows in the fingerprint: `fake` becomes `fake+centering`. A prediction difference is a
map of 4 x 6 pixels for each target, whose values grow from pixel to pixel; it comes in seven answers.
"""

import hashlib
import io
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.protobuf.any_pb2 import Any
from google.protobuf.empty_pb2 import Empty
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from PIL import Image, UnidentifiedImageError
from typer.testing import CliRunner, Result

from whymatch.client import Client
from whymatch.client.cli.app import app
from whymatch.v1 import embed_service_pb2 as embed
from whymatch.v1 import embed_service_pb2_grpc as embed_grpc
from whymatch.v1 import errors_pb2 as errors
from whymatch.v1 import explain_service_pb2 as explain
from whymatch.v1 import explain_service_pb2_grpc as explain_grpc
from whymatch.v1 import gallery_service_pb2 as gallery
from whymatch.v1 import gallery_service_pb2_grpc as gallery_grpc
from whymatch.v1 import search_service_pb2 as search
from whymatch.v1 import search_service_pb2_grpc as search_grpc
from whymatch.v1 import shapes_pb2 as similarity


class Refused(Exception):
    def __init__(self, code: grpc.StatusCode, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason = code, reason


@dataclass
class World:
    """What the fake server holds, and what its calls did."""

    galleries: dict[str, dict[str, tuple[gallery.Image, bytes]]] = field(default_factory=dict)
    heads: dict[str, gallery.Head] = field(default_factory=dict)
    head_requests: list[gallery.SetHeadRequest] = field(default_factory=list)
    head_call_ended: threading.Event = field(default_factory=threading.Event)
    page_size: int = 2
    answer_delay_s: float = 0.0
    token: str = ""
    max_message_bytes: int = -1
    answers_before_end: int = 10**9
    received: list[str] = field(default_factory=list)
    diversities: list[float] = field(default_factory=list)
    filters: list[str] = field(default_factory=list)
    differences: list[explain.ExplainPredictionDifferenceRequest] = field(default_factory=list)
    answers_before_refusal: int = 10**9
    answers_before_silence: int = 10**9
    difference_call_ended: threading.Event = field(default_factory=threading.Event)

    def images(self, path: str) -> dict[str, tuple[gallery.Image, bytes]]:
        name = path.split("/")[1]
        if name not in self.galleries:
            raise Refused(grpc.StatusCode.NOT_FOUND, "UNKNOWN_GALLERY", f"no gallery {name!r}")
        return self.galleries[name]

    def image(self, path: str) -> tuple[gallery.Image, bytes]:
        images = self.images(path)
        if path not in images:
            raise Refused(grpc.StatusCode.NOT_FOUND, "UNKNOWN_IMAGE", f"no image {path!r}")
        return images[path]

    def content(self, source: similarity.ImageSource) -> bytes:
        return source.content if source.WhichOneof("source") == "content" else self.image(source.image)[1]

    def model(self, parent: str, *sources: similarity.ImageSource) -> str:
        """Return the fingerprint behind the head of `parent` or, if that is empty, of the first stored image."""
        stored = [source.image for source in sources if source.WhichOneof("source") == "image"]
        for path in [parent] if parent else stored:
            self.images(path)
            head = self.heads.get(path.split("/")[1])
            return f"fake+{head.kind}" if head else "fake"
        return "fake"


def difference_setting(asked) -> explain.PredictionDifferenceSetting:
    """What a real server replies to a request that leaves numbers to it."""
    window_px = set_or(asked, "window_px", 10)
    return explain.PredictionDifferenceSetting(
        window_px=window_px,
        context_px=set_or(asked, "context_px", window_px + 4),
        sample_count=1 if asked.sampler == "mean" else set_or(asked, "sample_count", 20),
        stride_px=set_or(asked, "stride_px", 4),
    )


def set_or(request, field: str, default: int) -> int:
    """What a real server reads where a number is left to it."""
    return getattr(request, field) if request.HasField(field) else default


def feature_map(content: bytes) -> np.ndarray:
    try:
        pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), np.float32) / 255
    except UnidentifiedImageError:
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "NOT_AN_IMAGE", "these bytes are not an image") from None
    halves = np.array_split(pixels, 2, axis=1)
    return np.stack([half.mean((0, 1)) for half in halves])[None]


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def size_of(content: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(content)).size


def share_of_halves(regions, content: bytes) -> np.ndarray:
    """Return the weights of the two cells, (1, 2, 1); without a positive region the rest counts."""
    weights, ignored = np.zeros(2), np.zeros(2)
    rest = np.zeros(2) if any(weight_of(region) > 0 for region in regions) else np.ones(2)
    for region in regions:
        ends = (region.box.left_px, region.box.right_px) if region.HasField("box") else (region.point.x_px,) * 2
        left, right = np.array(ends) / (1 if region.relative else size_of(content)[0]) * 2
        if region.HasField("point"):
            left, right = int(left), int(left) + 1
        covered = np.array([max(0, min(right, cell + 1) - max(left, cell)) for cell in (0, 1)])
        weights += weight_of(region) * covered
        rest -= np.minimum(rest, covered)
        ignored += covered * (weight_of(region) == 0)
    return ((weights + rest) * (1 - ignored)).reshape(1, 2, 1)


def weight_of(region) -> float:
    return region.weight if region.HasField("weight") else 1


def parts_of(content: bytes, regions=()) -> np.ndarray:
    """Return what each cell contributes to the embedding, (1, 2, 3)."""
    features = feature_map(content)
    return features * share_of_halves(regions, content) / 2 / np.linalg.norm(features.mean((0, 1)))


def map_of(content: bytes, other: np.ndarray, overlays: bool, regions=()) -> similarity.SimilarityMap:
    """Map the similarity to the vector `other`; the best box is the cell with the largest value."""
    values = parts_of(content, regions) @ other
    width, height = size_of(content)
    return similarity.SimilarityMap(
        rows=1,
        columns=2,
        values=values.ravel(),
        total=values.sum(),
        width_px=width,
        height_px=height,
        area=similarity.PixelBox(right_px=width, bottom_px=height),
        overlay_png=png("red", size=(8, 4)) if overlays else b"",
        best_box=half_box(content, int(values.argmax())) if values.max() > 0 else None,
    )


def half_box(content: bytes, half: int) -> similarity.PixelBox:
    width, height = size_of(content)
    return similarity.PixelBox(left_px=half * width / 2, right_px=(half + 1) * width / 2, bottom_px=height)


def difference_maps(asked, share: float, overlays: bool) -> list[explain.PredictionDifference]:
    """Return -8 / 8 to 15 / 8 for the first target, twice that for the second and so on, each times `share`."""
    maps = []
    for number, target in enumerate(asked.targets, start=1):
        values = share * number * (np.arange(24) - 8) / 8
        if target.class_probability == "top1":
            target = explain.PredictionTarget(class_probability="tabby, tabby cat")
        if target.similarity.content:
            target = explain.PredictionTarget(similarity={})
        maps.append(
            explain.PredictionDifference(
                target=target,
                value=0.75,
                measure="bits" if target.class_probability else "score",
                rows=4,
                columns=6,
                values=values,
                standard_errors=[] if asked.sampler == "mean" else [0.25] * 23 + [0.5],
                sensitivities=np.arange(24) if asked.with_sensitivity and share == 1 else [],
                width_px=60,
                height_px=40,
                area=similarity.PixelBox(right_px=60, bottom_px=40),
                overlay_png=png("red", size=(8, 4)) if overlays else b"",
                color_scale=similarity.ColorScale(low=-4, high=4, color_map="RdBu_r") if overlays else None,
            )
        )
    return maps


SCALE = similarity.ColorScale(low=0, high=0.5, color_map="inferno")


class Galleries(gallery_grpc.GalleryServiceServicer):
    def __init__(self, world: World) -> None:
        self.world = world

    def CreateGallery(self, request, context):
        name = f"galleries/{request.gallery_id}"
        if request.gallery_id in self.world.galleries:
            raise Refused(grpc.StatusCode.ALREADY_EXISTS, "GALLERY_EXISTS", f"{name} exists")
        self.world.galleries[request.gallery_id] = {}
        return self._facts(request.gallery_id, request.gallery)

    def GetGallery(self, request, context):
        self.world.images(request.name)
        return self._facts(request.name.split("/")[1], gallery.Gallery())

    def ListGalleries(self, request, context):
        names, token = self._page(sorted(self.world.galleries), request.page_token)
        galleries = [self._facts(name, gallery.Gallery()) for name in names]
        return gallery.ListGalleriesResponse(galleries=galleries, next_page_token=token)

    def DeleteGallery(self, request, context):
        self.world.images(request.name)
        del self.world.galleries[request.name.split("/")[1]]
        return Empty()

    def SetHead(self, request, context):
        """Look at an image for each answer, and give the gallery its head if the call is still wanted by then."""
        context.add_callback(self.world.head_call_ended.set)
        self.world.head_requests.append(request)
        name = request.name.split("/")[1]
        count = self._fitted_count(request)
        for number in range(count + 1):
            if number == self.world.answers_before_end:
                return
            time.sleep(self.world.answer_delay_s)
            yield gallery.SetHeadResponse(progress=similarity.Progress(counted="images", done=number, total=count))
        if context.is_active():
            self._put_head(request, name, count)
        yield gallery.SetHeadResponse(gallery=self._facts(name, gallery.Gallery()))

    def AddImages(self, requests, context):
        parent = ""
        for number, request in enumerate(requests):
            if number == self.world.answers_before_end:
                return
            self.world.received.append(request.image_id)
            time.sleep(self.world.answer_delay_s)
            parent = parent or request.parent
            yield self._add(request, self.world.images(parent), f"{parent}/images/{request.image_id}")

    def GetImage(self, request, context):
        return self.world.image(request.name)[0]

    def BatchGetImages(self, request, context):
        return gallery.BatchGetImagesResponse(images=[self.world.image(name)[0] for name in request.names])

    def ListImages(self, request, context):
        names, token = self._page(self._named(request), request.page_token)
        images = [self.world.image(name)[0] for name in names]
        return gallery.ListImagesResponse(images=images, next_page_token=token)

    def ListLabels(self, request, context):
        counts = Counter(self.world.image(name)[0].label for name in self._named(request))
        unlabeled = counts.pop("", 0)
        labels = [gallery.LabelCount(label=label, count=count) for label, count in sorted(counts.items())]
        return gallery.ListLabelsResponse(labels=labels, unlabeled_count=unlabeled)

    def DeleteImages(self, request, context):
        for name in request.names:
            self.world.image(name)
        names = request.names or self._named(request)
        for name in names:
            del self.world.images(name)[name]
        return gallery.DeleteImagesResponse(deleted_count=len(names))

    def GetImageContent(self, request, context):
        return gallery.GetImageContentResponse(content=self.world.image(request.name)[1], content_type="image/png")

    def _fitted_count(self, request) -> int:
        """Return how many images the head is fitted to."""
        count = len(self.world.images(request.name))
        layer = request.linear
        if request.HasField("linear") and len(layer.weight) != 3 * len(layer.bias):
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "BAD_HEAD", "a row of the weight has 3 values")
        if request.WhichOneof("head") in ("none", "linear"):
            return 0
        if count < 2:
            raise Refused(grpc.StatusCode.FAILED_PRECONDITION, "TOO_FEW_IMAGES", f"{count} images are too few")
        return count

    def _put_head(self, request, name: str, count: int) -> None:
        kind = request.WhichOneof("head")
        version = self.world.heads[name].version + 1 if name in self.world.heads else 1
        self.world.heads.pop(name, None)
        if kind != "none":
            dimensions = {"centering": 3, "whitening": request.whitening.dimensions or 1}
            self.world.heads[name] = gallery.Head(
                kind=kind,
                dimensions=dimensions.get(kind, len(request.linear.bias)),
                version=version,
                image_count=count,
                model="fake",
            )
            self.world.heads[name].create_time.FromJsonString("2024-05-06T07:08:09Z")

    def _named(self, request) -> list[str]:
        """Return the names of the images that a filter holds for; the fake reads `label = "..."` alone."""
        images = self.world.images(request.parent)
        wanted = re.fullmatch('label = "(.*)"', request.filter)
        return sorted(name for name, (image, _) in images.items() if not wanted or image.label == wanted[1])

    def _page(self, names: list[str], token: str) -> tuple[list[str], str]:
        start = int(token or 0)
        end = start + self.world.page_size
        return names[start:end], str(end) if end < len(names) else ""

    def _facts(self, name: str, settings: gallery.Gallery) -> gallery.Gallery:
        facts = gallery.Gallery(
            name=f"galleries/{name}",
            model=self.world.model(f"galleries/{name}"),
            head=self.world.heads.get(name),
            index_factory=settings.index_factory or "auto",
            omit_feature_maps=settings.omit_feature_maps,
            image_count=len(self.world.galleries[name]),
        )
        facts.create_time.FromJsonString("2024-05-06T07:08:09Z")
        return facts

    def _add(self, request, images, name) -> gallery.AddImagesResponse:
        try:
            feature_map(request.content)
        except Refused as refused:
            code = refused.code.value[0]
            reason = errors.ErrorReason.Value(f"ERROR_REASON_{refused.reason}")
            error = errors.Error(code=code, reason=reason, message=str(refused))
            return gallery.AddImagesResponse(image_id=request.image_id, error=error)
        width, height = Image.open(io.BytesIO(request.content)).size
        image = gallery.Image(
            name=name,
            label=request.label,
            metadata=request.metadata,
            width_px=width,
            height_px=height,
            size_bytes=len(request.content),
            content_sha256=hashlib.sha256(request.content).hexdigest(),
        )
        image.create_time.FromJsonString("2024-05-06T07:08:09Z")
        image.update_time.CopyFrom(image.create_time)
        if images.get(name) == (image, request.content):
            return gallery.AddImagesResponse(image_id=request.image_id, image=image, unchanged=True)
        if name in images:
            exists = errors.Error(code=6, reason=errors.ERROR_REASON_IMAGE_EXISTS, message=f"{name} exists")
            return gallery.AddImagesResponse(image_id=request.image_id, error=exists)
        twins = [other for other, (_, content) in images.items() if content == request.content]
        images[name] = image, request.content
        return gallery.AddImagesResponse(image_id=request.image_id, image=image, duplicate_of=twins[0] if twins else "")


def regions_of(request):
    """Return the regions of the query and those of the matches."""
    if isinstance(request, search.RerankRequest):
        return request.query_regions, request.match_regions
    return request.regions, ()


def example_map(content: bytes | None, share: float, overlays: bool, regions) -> similarity.SimilarityMap:
    """Spread a share as the example itself is spread; an embedding has no map."""
    if content is None:
        return similarity.SimilarityMap()
    own = parts_of(content, regions).sum((0, 1))
    return map_of(content, own * share / float(own @ own), overlays, regions)


class Search(search_grpc.SearchServiceServicer):
    def __init__(self, world: World) -> None:
        self.world = world

    def Search(self, request, context):
        time.sleep(self.world.answer_delay_s)
        if request.examples:
            return self._by_examples(request)
        content = self.world.content(request.image) if request.WhichOneof("query") == "image" else None
        if not content and len(request.embedding.values) != 3:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "BAD_VECTOR", "an embedding has 3 values")
        if request.embedding.model not in ("", self.world.model(request.parent)):
            raise Refused(grpc.StatusCode.FAILED_PRECONDITION, "OTHER_EMBEDDING", "another head made this embedding")
        query = parts_of(content, request.regions) if content else unit(np.array(request.embedding.values))
        matches = [
            self._match(request, image, query, content, parts_of(stored), stored)
            for image, stored in self._candidates(request, content)
        ]
        matches.sort(key=lambda match: -match.score)
        if request.best_per_label:
            best = {match.image.label: match for match in reversed(matches)}
            matches = [match for match in matches if best[match.image.label] is match]
        if request.HasField("fold_above"):
            matches[0].folded.extend(matches[1:])
            del matches[1:]
        self.world.diversities.append(request.diversity)
        return self._answer(request, matches, search.SearchResponse)

    def _by_examples(self, request) -> search.SearchResponse:
        """The weights are those of the request; one that is left out is 1."""
        overlays = request.HasField("overlays")
        contents = [self.world.content(one.image) if one.HasField("image") else None for one in request.examples]
        vectors = [
            (-1 if one.unlike else 1)
            * (one.weight if one.HasField("weight") else 1.0)
            * unit(parts_of(content, one.regions).sum((0, 1)) if content else np.array(one.embedding.values))
            for one, content in zip(request.examples, contents, strict=True)
        ]
        length = np.linalg.norm(sum(vectors))
        if length < 1e-4:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "EXAMPLES_CANCEL", "the examples cancel each other out")
        matches = []
        for image, stored in self._candidates(request, None):
            shares = [float(one @ parts_of(stored).sum((0, 1)) / length) for one in vectors]
            found = search.Match(image=image, score=sum(shares), image_score=sum(shares), shares=shares)
            if request.with_maps or overlays:
                found.match_map.CopyFrom(map_of(stored, sum(vectors) / length, overlays))
                for one, content, share in zip(request.examples, contents, shares, strict=True):
                    found.example_maps.append(example_map(content, share, overlays, one.regions))
            matches.append(found)
        matches.sort(key=lambda match: -match.score)
        return self._answer(request, matches, search.SearchResponse)

    def FindDuplicates(self, request, context):
        names = [image.name for image, _ in self.world.images(request.parent).values()]
        self.world.filters.append(request.filter)
        origin = similarity.Provenance(model="fake", gallery=request.parent)
        progress = similarity.Progress(counted="images", done=0, total=len(names))
        yield search.FindDuplicatesResponse(progress=progress, provenance=origin)
        if request.above <= 0.5:
            group = search.DuplicateGroup(images=names, least_score=0.25, largest_score=1)
            yield search.FindDuplicatesResponse(group=group)

    def Rerank(self, request, context):
        content = self.world.content(request.query)
        query = parts_of(content, request.query_regions)
        found = [self.world.image(name) for name in request.candidates] or self._candidates(request, content)
        whole = parts_of(content).sum((0, 1))
        found = sorted(found, key=lambda candidate: -(whole @ parts_of(candidate[1]).sum((0, 1))))
        matches = [
            self._match(request, image, query, content, parts_of(stored, request.match_regions), stored)
            for image, stored in found[: None if request.candidates else set_or(request, "candidate_limit", 100)]
        ]
        matches.sort(key=lambda match: -match.score)
        return self._answer(request, matches, search.RerankResponse)

    def _candidates(self, request, query):
        images = self.world.images(request.parent).values()
        own = query if request.exclude_itself else None
        return [
            (image, stored)
            for image, stored in images
            if (not request.labels or image.label in request.labels) and stored != own
        ]

    def _match(self, request, image, query, content, match, stored) -> search.Match:
        overlays = request.HasField("overlays")
        whole_query = parts_of(content) if content else query
        whole_match = parts_of(stored).sum((0, 1))
        found = search.Match(
            image=image,
            score=float((query @ match.sum((0, 1))).sum()),
            image_score=float((whole_query @ whole_match).sum()),
        )
        if request.with_maps or overlays:
            of_query, of_match = regions_of(request)
            found.match_map.CopyFrom(map_of(stored, query.reshape(-1, 3).sum(0), overlays, of_match))
            if content:
                found.query_map.CopyFrom(map_of(content, match.sum((0, 1)), overlays, of_query))
        return found

    def _answer(self, request, matches, kind):
        limit = set_or(request, "limit", 10)
        scale = SCALE if request.HasField("overlays") else None
        return kind(model=self.world.model(request.parent), matches=matches[:limit], color_scale=scale)


class Explain(explain_grpc.ExplainServiceServicer):
    def __init__(self, world: World) -> None:
        self.world = world

    def ExplainMatch(self, request, context):
        query, match = self.world.content(request.query), self.world.content(request.match)
        overlays = request.HasField("overlays")
        query_parts, match_parts = parts_of(query, request.query_regions), parts_of(match, request.match_regions)
        query_sum, match_sum = query_parts.sum((0, 1)), match_parts.sum((0, 1))
        query_map = map_of(query, match_sum, overlays, request.query_regions)
        pairs = query_parts[0] @ match_parts[0].T
        return explain.ExplainMatchResponse(
            model=self.world.model(request.parent, request.match, request.query),
            score=query_map.total,
            query_map=query_map,
            match_map=map_of(match, query_sum, overlays, request.match_regions),
            residual=1e-7,
            color_scale=SCALE if overlays else None,
            image_score=float(parts_of(query).sum((0, 1)) @ parts_of(match).sum((0, 1))),
            channels=[
                explain.ChannelShare(channel=int(channel), score=(query_sum * match_sum)[channel])
                for channel in np.argsort(-query_sum * match_sum, kind="stable")[: set_or(request, "channel_limit", 10)]
            ],
            correspondences=[
                explain.Correspondence(
                    query_box=half_box(query, place // 2), match_box=half_box(match, place % 2), score=pairs.flat[place]
                )
                for place in map(
                    int, np.argsort(-pairs.ravel(), kind="stable")[: set_or(request, "correspondence_limit", 10)]
                )
            ],
        )

    def ExplainLabel(self, request, context):
        query = self.world.content(request.query)
        labeled = [
            stored
            for image, stored in self.world.images(request.parent).values()
            if image.label == request.label and stored != query
        ]
        if not labeled:
            raise Refused(grpc.StatusCode.NOT_FOUND, "UNKNOWN_LABEL", f"no image is labeled {request.label!r}")
        mean = np.mean([parts_of(stored).sum((0, 1)) for stored in labeled], 0)
        overlays = request.HasField("overlays")
        query_map = map_of(query, mean, overlays)
        return explain.ExplainLabelResponse(
            model="fake",
            score=query_map.total,
            image_count=len(labeled),
            query_map=query_map,
            color_scale=SCALE if overlays else None,
        )

    def ExplainRanking(self, request, context):
        """Without units; the match maps are those of the whole images."""
        query, overlays = self.world.content(request.query), request.HasField("overlays")
        (first, a), (second, b) = (self._side(request, one, query) for one in (request.first, request.second))
        difference = a - b
        difference_map = map_of(query, difference, overlays, request.query_regions)
        parts = parts_of(query, request.query_regions).sum((0, 1)) * difference
        order = np.argsort(-np.abs(parts), kind="stable")[: set_or(request, "channel_limit", 10)]
        cells = np.argsort(-np.abs(difference_map.values), kind="stable")[: set_or(request, "cell_limit", 10)]
        return explain.ExplainRankingResponse(
            model=self.world.model(request.parent, request.first.image, request.second.image, request.query),
            gap=first.score - second.score,
            first=first,
            second=second,
            difference_map=difference_map,
            channels=[explain.ChannelShare(channel=int(one), score=parts[one]) for one in order],
            cells=[
                explain.CellShare(box=half_box(query, int(one)), score=difference_map.values[int(one)]) for one in cells
            ],
            residual=1e-7,
            color_scale=SCALE if overlays else None,
            match_color_scale=SCALE if overlays and request.first.WhichOneof("contender") == "image" else None,
        )

    def _side(self, request, one, query) -> tuple[explain.RankedScore, np.ndarray]:
        query_vector = parts_of(query, request.query_regions).sum((0, 1))
        if one.WhichOneof("contender") == "label":
            images = self.world.images(request.parent).values()
            vectors = [parts_of(stored).sum((0, 1)) for image, stored in images if image.label == one.label]
            if not vectors:
                raise Refused(grpc.StatusCode.NOT_FOUND, "UNKNOWN_LABEL", f"no image is labeled {one.label!r}")
            mean = np.mean(vectors, 0)
            return explain.RankedScore(score=float(query_vector @ mean), image_count=len(vectors)), mean
        content = self.world.content(one.image)
        match_map = map_of(content, query_vector, request.HasField("overlays"))
        digest = hashlib.sha256(content).hexdigest()
        side = explain.RankedScore(score=match_map.total, image_count=1, match_map=match_map, content_sha256=digest)
        return side, parts_of(content).sum((0, 1))

    def _scores(self, request, parent) -> dict[str, float]:
        query = parts_of(self.world.content(request.query), request.query_regions).sum((0, 1))
        images = self.world.images(parent)
        scores = {path: float(query @ parts_of(stored).sum((0, 1))) for path, (_, stored) in images.items()}
        return dict(sorted(scores.items(), key=lambda item: -item[1]))

    def ExplainRank(self, request, context):
        self.world.image(request.image)
        scores = self._scores(request, request.image)
        place = min(set_or(request, "limit", 10), len(scores))
        return explain.ExplainRankResponse(
            model=self.world.model(request.image),
            score=scores[request.image],
            rank=1 + sum(score > scores[request.image] for score in scores.values()),
            image_count=len(scores),
            needed_score=list(scores.values())[place - 1],
            rival=list(scores)[place - 1],
            rival_rank=place,
        )

    def ExplainNeighbors(self, request, context):
        images = self.world.images(request.parent)
        nearest = list(self._scores(request, request.parent).items())[: set_or(request, "limit", 50)]
        total, labeled = sum(score for _, score in nearest), {}
        for path, score in nearest:
            labeled.setdefault(images[path][0].label, []).append(score)
        means = [
            explain.LabelScore(label=name, image_count=len(some), score=np.mean(some)) for name, some in labeled.items()
        ]
        count = set_or(request, "label_limit", 10)
        return explain.ExplainNeighborsResponse(
            model=self.world.model(request.parent),
            neighbor_count=len(nearest),
            neighbors=[
                explain.NeighborLabel(
                    label=label,
                    neighbor_count=len(some),
                    share=len(some) / len(nearest),
                    score_share=sum(some) / total,
                )
                for label, some in labeled.items()
            ],
            label_count=len(means),
            best_labels=means[:count],
            worst_labels=means[count:][::-1][:count],
        )

    def ExplainInterActive(self, request, context):
        """The weights are the brightness of each half, times the norm where the next layer supervises."""
        parts = parts_of(self.world.content(request.image)).sum(2)
        response = explain.ExplainInterActiveResponse(
            model=f"fake, warp {request.warp}", input_width_px=request.size_px or 512, input_height_px=32
        )
        for setting in request.settings:
            if setting.layer == "missing":
                raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "BAD_LAYER", "'missing' is no layer")
            values = parts * (setting.norm if setting.supervision == "next" else 1)
            overlays = request.HasField("overlays")
            response.results.add(
                setting=setting,
                map=explain.WeightMap(
                    rows=1,
                    columns=2,
                    values=values.ravel().tolist(),
                    width_px=20,
                    height_px=10,
                    overlay_png=png("red", size=(8, 4)) if overlays else b"",
                ),
                descriptor=[0.6, 0.8] if request.descriptor == "max" else [],
                color_scale=SCALE if overlays else None,
            )
        return response

    def ExplainPredictionDifference(self, request, context):
        """Fit for two answers, then four steps of 100 evaluations, the second with partial maps, then all is there."""
        ended = threading.Event()
        context.add_callback(ended.set)
        context.add_callback(self.world.difference_call_ended.set)
        self.world.differences.append(request)
        for number, answer in enumerate(self._difference(request)):
            if number == self.world.answers_before_end:
                return
            if number == self.world.answers_before_refusal:
                raise Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_BUSY", "others want the server, too")
            if number == self.world.answers_before_silence:
                ended.wait(30)
                return
            time.sleep(self.world.answer_delay_s)
            yield answer

    def _difference(self, request):
        asked = request
        if request.name:
            asked = next((old for old in self.world.differences if old.image.WhichOneof("source")), None)
            if request.name != "explanations/abc" or asked is None:
                raise Refused(grpc.StatusCode.NOT_FOUND, "UNKNOWN_EXPLANATION", f"no explanation {request.name!r}")
        self.world.content(asked.image)
        facts = {"name": "explanations/abc", "model": "fake"}
        for count in (0, 1):
            progress = similarity.Progress(counted="images", done=count, total=2)
            yield explain.ExplainPredictionDifferenceResponse(progress=progress, **facts)
        for count in (0, 100, 200, 300, 400):
            yield explain.ExplainPredictionDifferenceResponse(
                progress=similarity.Progress(counted="evaluations", done=count, total=400),
                evaluations_per_second=50,
                seconds_left=(400 - count) / 50,
                maps=difference_maps(asked, count / 400, request.HasField("overlays")) if count in (200, 400) else [],
                complete=count == 400,
                sampler=explain.PatchSampler(
                    kind=asked.sampler or "conditional", image_count=2, patch_count=50, seed=asked.seed
                )
                if count in (200, 400)
                else None,
                setting=difference_setting(asked) if count in (200, 400) else None,
                multiplied_share=0.25,
                computed_whole=["avgpool"],
                **facts,
            )

    def ExplainComponents(self, request, context):
        return explain.ExplainComponentsResponse(
            model=f"fake, seed {request.seed}",
            pair_count=set_or(request, "pair_count", 1000),
            mean_shares=[0.5, 0.75, 1],
            low_shares=[0.25, 0.5, 1],
            high_shares=[0.75, 1, 1],
        )


class Embed(embed_grpc.EmbedServiceServicer):
    def __init__(self, world: World) -> None:
        self.world = world

    def EmbedImage(self, request, context):
        features = feature_map(self.world.content(request.image))
        response = embed.EmbedImageResponse(
            model=self.world.model(request.parent, request.image),
            embedding=unit(features.mean((0, 1))),
            width_px=4,
            height_px=2,
        )
        if request.with_feature_map:
            grid = embed.FeatureMap(rows=1, columns=2, channels=3, values=features.ravel())
            response.feature_map.CopyFrom(grid)
        return response

    def GetModel(self, request, context):
        return embed.Model(
            fingerprint="fake",
            backbone="halves",
            dimensions=3,
            description_json='{"size_px": 2}',
            layers=[
                embed.Layer(has_units=True, name="first", aliases=["conv", "relu"], channels=4),
                embed.Layer(has_units=True, name="last", channels=3),
            ],
        )


class Failures(grpc.ServerInterceptor):
    """Turns `Refused` into a status with ErrorInfo, and checks the token, as the real server does."""

    def __init__(self, world: World) -> None:
        self.world = world

    def intercept_service(self, continuation, details):
        handler = continuation(details)
        authorized = (
            not self.world.token or ("authorization", f"Bearer {self.world.token}") in details.invocation_metadata
        )

        def unary(request, context):
            with aborting(context, authorized):
                return handler.unary_unary(request, context)

        def stream(requests, context):
            with aborting(context, authorized):
                yield from (handler.stream_stream or handler.unary_stream)(requests, context)

        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(unary, handler.request_deserializer, handler.response_serializer)
        if handler.unary_stream:
            return grpc.unary_stream_rpc_method_handler(
                stream, handler.request_deserializer, handler.response_serializer
            )
        return grpc.stream_stream_rpc_method_handler(stream, handler.request_deserializer, handler.response_serializer)


class aborting:  # noqa: N801
    def __init__(self, context: grpc.ServicerContext, authorized: bool) -> None:
        self.context, self.authorized = context, authorized

    def __enter__(self) -> None:
        if not self.authorized:
            self._abort(Refused(grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED", "this server requires a token"))

    def __exit__(self, kind, error, trace) -> None:
        if isinstance(error, Refused):
            self._abort(error)

    def _abort(self, refused: Refused) -> None:
        detail = Any()
        detail.Pack(error_details_pb2.ErrorInfo(reason=refused.reason, domain="whymatch"))
        status = status_pb2.Status(code=refused.code.value[0], message=str(refused), details=[detail])
        self.context.abort_with_status(rpc_status.to_status(status))


def png(color: str, right: str = "", size=(4, 2)) -> bytes:
    """Return a PNG of one color, or of two halves."""
    image = Image.new("RGB", size, color)
    image.paste(right or color, (size[0] // 2, 0, *size))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def picture() -> Callable[..., bytes]:
    return png


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def address(world: World) -> Iterator[str]:
    options = [("grpc.max_receive_message_length", world.max_message_bytes)]
    server = grpc.server(futures.ThreadPoolExecutor(8), interceptors=[Failures(world)], options=options)
    gallery_grpc.add_GalleryServiceServicer_to_server(Galleries(world), server)
    search_grpc.add_SearchServiceServicer_to_server(Search(world), server)
    explain_grpc.add_ExplainServiceServicer_to_server(Explain(world), server)
    embed_grpc.add_EmbedServiceServicer_to_server(Embed(world), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    with Client(address) as client:
        client.create_gallery("default")
        yield client


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Save a picture, red unless told, and return its path."""

    def save(name: str, color: str = "red", right: str = "") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(color, right))
        return path

    return save


@pytest.fixture
def colors(client: Client) -> Client:
    """A client of a gallery with three pictures: red, green, and one that is red at its left and green at its right."""
    pictures = {"red.png": png("red"), "green.png": png("lime"), "half.png": png("red", "lime")}
    for name, content in pictures.items():
        client.add_image(content, name=name, label=name.removesuffix(".png"))
    return client


@pytest.fixture
def run(address: str) -> Callable[..., Result]:
    """Run the command line against the fake server."""

    def run(*arguments: object, stdin: bytes | None = None) -> Result:
        words = [str(argument) for argument in arguments]
        return CliRunner().invoke(app, words, input=stdin, env={"WHYMATCH_ADDRESS": address})

    return run


@pytest.fixture
def ask(run: Callable[..., Result]) -> Callable[..., dict]:
    """Run a command of the command line with --json, and return its document, less its provenance."""

    def ask(*arguments: object, **options: object) -> dict:
        result = run(*arguments, "--json", **options)
        assert result.exit_code == 0, result.output
        document = json.loads(result.stdout)
        for one in document if isinstance(document, list) else [document]:
            one.pop("provenance", None)  # test_provenance.py looks at it
        return document

    return ask
