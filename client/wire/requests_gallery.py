"""Requests of GalleryService."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from google.protobuf.struct_pb2 import Struct
from numpy.typing import ArrayLike

from whymatch.client.inputs import (
    HeadKind,
    ImageInput,
    NewImage,
    head_layer,
    image_bytes,
    image_name,
    metadata_values,
    require_text,
)
from whymatch.client.wire import requests_shapes
from whymatch.v1 import gallery_service_pb2

PAGE_SIZE = 1000


def add(new: NewImage | ImageInput, gallery: str) -> gallery_service_pb2.AddImagesRequest:
    """Ask to add one image, which is read now."""
    new = new if isinstance(new, NewImage) else NewImage(new)
    if isinstance(new.content, (str, os.PathLike)) and Path(new.content).is_dir():
        folder = os.fspath(new.content)
        raise ValueError(f"{folder!r} is a folder; write client.add(find_images([{folder!r}])) to add its images")
    require_text(new)
    return gallery_service_pb2.AddImagesRequest(
        parent=requests_shapes.gallery_path(gallery),
        image_id=image_name(new),
        content=image_bytes(new.content),
        label=new.label,
        metadata=_struct(metadata_values(new.metadata)),
    )


def _struct(metadata: Mapping[str, str | float | bool]) -> Struct:
    struct = Struct()
    struct.update(metadata)
    return struct


def get_image(gallery: str, name: str) -> gallery_service_pb2.GetImageRequest:
    """Ask for one image."""
    return gallery_service_pb2.GetImageRequest(name=requests_shapes.image_path(gallery, name))


def get_image_content(gallery: str, name: str, at_generation: int | None) -> gallery_service_pb2.GetImageContentRequest:
    """Ask for the bytes of an image."""
    path = requests_shapes.image_path(gallery, name)
    return gallery_service_pb2.GetImageContentRequest(name=path, at_generation=at_generation)


def list_images(gallery: str, page_token: str) -> gallery_service_pb2.ListImagesRequest:
    """Ask for a page of images."""
    parent = requests_shapes.gallery_path(gallery)
    return gallery_service_pb2.ListImagesRequest(parent=parent, page_size=PAGE_SIZE, page_token=page_token)


def delete_image(gallery: str, name: str) -> gallery_service_pb2.DeleteImageRequest:
    """Ask to delete an image."""
    return gallery_service_pb2.DeleteImageRequest(name=requests_shapes.image_path(gallery, name))


def get_gallery(name: str) -> gallery_service_pb2.GetGalleryRequest:
    """Ask for one gallery."""
    return gallery_service_pb2.GetGalleryRequest(name=requests_shapes.gallery_path(name))


def list_galleries(page_token: str) -> gallery_service_pb2.ListGalleriesRequest:
    """Ask for a page of galleries."""
    return gallery_service_pb2.ListGalleriesRequest(page_size=PAGE_SIZE, page_token=page_token)


def delete_gallery(name: str) -> gallery_service_pb2.DeleteGalleryRequest:
    """Ask to delete a gallery and everything in it."""
    return gallery_service_pb2.DeleteGalleryRequest(name=requests_shapes.gallery_path(name))


def create_gallery(
    name: str, *, index_factory: str, omit_feature_maps: bool
) -> gallery_service_pb2.CreateGalleryRequest:
    """Ask for a new gallery."""
    settings = gallery_service_pb2.Gallery(index_factory=index_factory, omit_feature_maps=omit_feature_maps)
    return gallery_service_pb2.CreateGalleryRequest(gallery_id=name, gallery=settings)


def set_head(
    gallery: str, kind: HeadKind, *, dimensions: int | None, weight: ArrayLike | None, bias: ArrayLike | None
) -> gallery_service_pb2.SetHeadRequest:
    """Ask for another head."""
    request = gallery_service_pb2.SetHeadRequest(name=requests_shapes.gallery_path(gallery))
    match kind:
        case "none":
            request.none.SetInParent()
        case "centering":
            request.centering.SetInParent()
        case "whitening":
            request.whitening.CopyFrom(_whitening(dimensions))
        case "linear":
            matrix, vector = head_layer(weight, bias)
            request.linear.weight.extend(matrix.ravel().tolist())
            request.linear.bias.extend(vector.tolist())
        case _:
            raise ValueError(f"a head is 'none', 'centering', 'whitening' or 'linear', not {kind!r}")
    if dimensions is not None and kind != "whitening":
        raise ValueError(f"dimensions={dimensions!r} is for 'whitening' alone; leave it out for {kind!r}")
    if kind != "linear" and (weight is not None or bias is not None):
        raise ValueError(f"weight and bias are for 'linear' alone; leave them out for {kind!r}")
    return request


def _whitening(dimensions: int | None) -> gallery_service_pb2.Whitening:
    if dimensions is not None and dimensions < 1:
        raise ValueError(f"dimensions={dimensions!r}: keep at least one, or leave it out to let the server choose")
    return gallery_service_pb2.Whitening(dimensions=dimensions or 0)
