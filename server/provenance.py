"""Where an answer comes from: what it rests on, as far as the server knows it."""

from dataclasses import dataclass
from datetime import datetime

from whymatch.embed import Model
from whymatch.index import GalleryVersion


@dataclass(frozen=True)
class Provenance:
    """Where an answer comes from; the fields are those of the message, which explains them."""

    model: str
    """The fingerprint of the model and the gallery's head."""
    headless_model: str
    backbone: str
    gallery: str = ""
    """Empty without one, and so are the fields below."""
    gallery_create_time: datetime | None = None
    generation: int = 0
    image_count: int = 0
    head: str = "none"
    head_version: int = 0
    index: str = ""
    exact: bool = False
    query_sha256: str = ""
    match_sha256: str = ""
    example_sha256: tuple[str, ...] = ()


def provenance_of(model: Model, version: GalleryVersion | None) -> Provenance:
    """Return where the answers of a model come from, or those of a version of a gallery as it is now."""
    if version is None:
        return Provenance(model.fingerprint, model.fingerprint, model.backbone)
    return Provenance(
        model=version.fingerprint,
        headless_model=model.fingerprint,
        backbone=model.backbone,
        gallery=version.gallery,
        gallery_create_time=version.create_time,
        generation=version.generation(),
        image_count=version.count(),
        head=version.head.kind,
        head_version=version.head_version,
        index=version.index.kind,
        exact=version.index.exact,
    )
