"""A real gRPC server with a tiny model that one can compute by hand.

An image's feature map is 1 x 2 cells: the mean color of its left and of its right half. Pooling is the average, so the
embedding is the mean color, scaled to length 1. Galleries are dictionaries.
"""

import hashlib
import io
import time
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

from whymatch.client import Client
from whymatch.v1 import embed_service_pb2 as embed
from whymatch.v1 import embed_service_pb2_grpc as embed_grpc
from whymatch.v1 import errors_pb2 as errors
from whymatch.v1 import explain_service_pb2 as explain
from whymatch.v1 import explain_service_pb2_grpc as explain_grpc
from whymatch.v1 import gallery_service_pb2 as gallery
from whymatch.v1 import gallery_service_pb2_grpc as gallery_grpc
from whymatch.v1 import search_service_pb2 as search
from whymatch.v1 import search_service_pb2_grpc as search_grpc
from whymatch.v1 import similarity_pb2 as similarity


class Refused(Exception):
    def __init__(self, code: grpc.StatusCode, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason = code, reason


@dataclass
class World:
    """What the fake server holds, and what its calls did."""

    galleries: dict[str, dict[str, tuple[gallery.Image, bytes]]] = field(default_factory=dict)
    page_size: int = 2
    answer_delay_s: float = 0.0
    token: str = ""
    max_message_bytes: int = -1
    answers_before_end: int = 10**9
    received: list[str] = field(default_factory=list)

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


def feature_map(content: bytes) -> np.ndarray:
    try:
        pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), np.float32) / 255
    except UnidentifiedImageError:
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "NOT_AN_IMAGE", "these bytes are not an image") from None
    halves = np.array_split(pixels, 2, axis=1)
    return np.stack([half.mean((0, 1)) for half in halves])[None]


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def map_of(content: bytes, other: np.ndarray, overlays: bool) -> similarity.SimilarityMap:
    features = feature_map(content)
    values = features @ unit(other) / 2 / np.linalg.norm(features.mean((0, 1)))
    width, height = Image.open(io.BytesIO(content)).size
    return similarity.SimilarityMap(
        rows=1,
        columns=2,
        values=values.ravel(),
        total=values.sum(),
        width_px=width,
        height_px=height,
        area=similarity.PixelBox(right_px=width, bottom_px=height),
        overlay_png=png("red", size=(8, 4)) if overlays else b"",
    )


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

    def ListImages(self, request, context):
        names, token = self._page(sorted(self.world.images(request.parent)), request.page_token)
        images = [self.world.image(name)[0] for name in names]
        return gallery.ListImagesResponse(images=images, next_page_token=token)

    def DeleteImage(self, request, context):
        self.world.image(request.name)
        del self.world.images(request.name)[request.name]
        return Empty()

    def GetImageContent(self, request, context):
        return gallery.GetImageContentResponse(content=self.world.image(request.name)[1], content_type="image/png")

    def _page(self, names: list[str], token: str) -> tuple[list[str], str]:
        start = int(token or 0)
        end = start + self.world.page_size
        return names[start:end], str(end) if end < len(names) else ""

    def _facts(self, name: str, settings: gallery.Gallery) -> gallery.Gallery:
        facts = gallery.Gallery(
            name=f"galleries/{name}",
            model="fake",
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
        if images.get(name) == (image, request.content):
            return gallery.AddImagesResponse(image_id=request.image_id, image=image, unchanged=True)
        twins = [other for other, (_, content) in images.items() if content == request.content]
        images[name] = image, request.content
        return gallery.AddImagesResponse(image_id=request.image_id, image=image, duplicate_of=twins[0] if twins else "")


class Search(search_grpc.SearchServiceServicer):
    def __init__(self, world: World) -> None:
        self.world = world

    def Search(self, request, context):
        time.sleep(self.world.answer_delay_s)
        images = self.world.images(request.parent)
        content = self.world.content(request.image) if request.WhichOneof("query") == "image" else None
        query = feature_map(content).mean((0, 1)) if content else np.array(request.embedding.values)
        if len(query) != 3:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "BAD_VECTOR", "an embedding has 3 values")
        overlays = request.HasField("overlays")
        matches = []
        for image, stored in images.values():
            if request.labels and image.label not in request.labels:
                continue
            embedding = feature_map(stored).mean((0, 1))
            match = search.Match(image=image, score=float(unit(query) @ unit(embedding)))
            if request.with_maps or overlays:
                match.match_map.CopyFrom(map_of(stored, query, overlays))
                if content:
                    match.query_map.CopyFrom(map_of(content, embedding, overlays))
            matches.append(match)
        matches.sort(key=lambda match: -match.score)
        limit = request.limit if request.HasField("limit") else 10
        return search.SearchResponse(model="fake", matches=matches[:limit], color_scale=SCALE if overlays else None)


class Explain(explain_grpc.ExplainServiceServicer):
    def __init__(self, world: World) -> None:
        self.world = world

    def ExplainMatch(self, request, context):
        query, match = self.world.content(request.query), self.world.content(request.match)
        overlays = request.HasField("overlays")
        query_map = map_of(query, feature_map(match).mean((0, 1)), overlays)
        match_map = map_of(match, feature_map(query).mean((0, 1)), overlays)
        return explain.ExplainMatchResponse(
            model="fake",
            score=query_map.total,
            query_map=query_map,
            match_map=match_map,
            residual=1e-7,
            color_scale=SCALE if overlays else None,
        )


class Embed(embed_grpc.EmbedServiceServicer):
    def __init__(self, world: World) -> None:
        self.world = world

    def EmbedImage(self, request, context):
        features = feature_map(self.world.content(request.source))
        response = embed.EmbedImageResponse(
            model="fake", embedding=unit(features.mean((0, 1))), width_px=4, height_px=2
        )
        if request.with_feature_map:
            grid = embed.FeatureMap(rows=1, columns=2, channels=3, values=features.ravel())
            response.feature_map.CopyFrom(grid)
        return response

    def GetModel(self, request, context):
        return embed.Model(fingerprint="fake", backbone="halves", dimensions=3, description_json='{"size_px": 2}')


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
                yield from handler.stream_stream(requests, context)

        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(unary, handler.request_deserializer, handler.response_serializer)
        return grpc.stream_stream_rpc_method_handler(stream, handler.request_deserializer, handler.response_serializer)


class aborting:  # noqa: N801
    def __init__(self, context: grpc.ServicerContext, authorized: bool) -> None:
        self.context, self.authorized = context, authorized

    def __enter__(self) -> None:
        if not self.authorized:
            self._abort(Refused(grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED", "this server wants a token"))

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
