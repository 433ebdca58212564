"""Requests of GalleryService."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.struct_pb2 import Struct
from numpy.typing import ArrayLike

from whymatch.client.inputs import (
    HeadKind,
    ImageInput,
    MetadataValue,
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


def add(new: NewImage | ImageInput, gallery: str, replace: bool) -> gallery_service_pb2.AddImagesRequest:
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
        replace=replace or new.replace,
    )


def _struct(metadata: Mapping[str, MetadataValue]) -> Struct:
    struct = Struct()
    struct.update(metadata)
    return struct


def update(
    gallery: str,
    name: str,
    *,
    label: str | None,
    metadata: Mapping[str, MetadataValue] | None,
    changed: Mapping[str, MetadataValue | None],
) -> gallery_service_pb2.UpdateImageRequest:
    """Ask to change an image: its label, all its metadata, or those of some keys, which go if their value is None."""
    paths = [*(["label"] if label is not None else []), *(["metadata"] if metadata is not None else [])]
    paths += [f"metadata.{key}" for key in changed]
    if not paths:
        raise ValueError("nothing of the image would change; give label=, metadata= or changed=")
    values = {key: value for key, value in {**(metadata or {}), **changed}.items() if value is not None}
    image = gallery_service_pb2.Image(
        name=requests_shapes.image_path(gallery, name), label=label or "", metadata=_struct(metadata_values(values))
    )
    return gallery_service_pb2.UpdateImageRequest(image=image, update_mask=FieldMask(paths=paths))


def get_image(gallery: str, name: str, at_generation: int | None) -> gallery_service_pb2.GetImageRequest:
    """Ask for one image."""
    path = requests_shapes.image_path(gallery, name)
    return gallery_service_pb2.GetImageRequest(name=path, at_generation=at_generation)


def get_several(
    gallery: str, names: Sequence[str], at_generation: int | None
) -> gallery_service_pb2.BatchGetImagesRequest:
    """Ask for several images."""
    return gallery_service_pb2.BatchGetImagesRequest(
        parent=requests_shapes.gallery_path(gallery), names=_paths(gallery, names), at_generation=at_generation
    )


def get_image_content(gallery: str, name: str, at_generation: int | None) -> gallery_service_pb2.GetImageContentRequest:
    """Ask for the bytes of an image."""
    path = requests_shapes.image_path(gallery, name)
    return gallery_service_pb2.GetImageContentRequest(name=path, at_generation=at_generation)


def list_images(
    gallery: str, filter: str, at_generation: int | None, page_token: str
) -> gallery_service_pb2.ListImagesRequest:
    """Ask for a page of images."""
    return gallery_service_pb2.ListImagesRequest(
        parent=requests_shapes.gallery_path(gallery),
        page_size=PAGE_SIZE,
        page_token=page_token,
        filter=filter,
        at_generation=at_generation,
    )


def list_labels(gallery: str, filter: str, at_generation: int | None) -> gallery_service_pb2.ListLabelsRequest:
    """Ask for the labels of a gallery."""
    parent = requests_shapes.gallery_path(gallery)
    return gallery_service_pb2.ListLabelsRequest(parent=parent, filter=filter, at_generation=at_generation)


def delete(gallery: str, names: str | Sequence[str]) -> gallery_service_pb2.DeleteImagesRequest:
    """Ask to delete images by name."""
    return gallery_service_pb2.DeleteImagesRequest(
        parent=requests_shapes.gallery_path(gallery), names=_paths(gallery, names)
    )


def delete_where(gallery: str, filter: str) -> gallery_service_pb2.DeleteImagesRequest:
    """Ask to delete all images that a filter holds for."""
    return gallery_service_pb2.DeleteImagesRequest(parent=requests_shapes.gallery_path(gallery), filter=filter)


def erase(gallery: str, names: str | Sequence[str]) -> gallery_service_pb2.EraseImagesRequest:
    """Ask to erase images."""
    return gallery_service_pb2.EraseImagesRequest(
        parent=requests_shapes.gallery_path(gallery), names=_paths(gallery, names)
    )


def _paths(gallery: str, names: str | Sequence[str]) -> list[str]:
    """Return the names of one or several images as the API writes them."""
    return [requests_shapes.image_path(gallery, name) for name in ([names] if isinstance(names, str) else names)]


def list_generations(gallery: str, page_token: str) -> gallery_service_pb2.ListGenerationsRequest:
    """Ask for a page of generations."""
    parent = requests_shapes.gallery_path(gallery)
    return gallery_service_pb2.ListGenerationsRequest(parent=parent, page_size=PAGE_SIZE, page_token=page_token)


def tag(gallery: str, name: str, generation: int | None) -> gallery_service_pb2.TagGenerationRequest:
    """Ask to name a generation."""
    parent = requests_shapes.gallery_path(gallery)
    return gallery_service_pb2.TagGenerationRequest(parent=parent, tag=name, generation=generation)


def remove_tag(gallery: str, name: str) -> gallery_service_pb2.DeleteTagRequest:
    """Ask to take a name off its generation."""
    return gallery_service_pb2.DeleteTagRequest(parent=requests_shapes.gallery_path(gallery), tag=name)


def purge(gallery: str, before: int) -> gallery_service_pb2.PurgeGalleryRequest:
    """Ask to forget the generations before one."""
    return gallery_service_pb2.PurgeGalleryRequest(name=requests_shapes.gallery_path(gallery), before_generation=before)


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
