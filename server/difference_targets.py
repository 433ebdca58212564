"""What explanations by prediction difference are of, looked up in the galleries."""

import asyncio
from concurrent.futures import Executor

import numpy as np

from whymatch.embed import Array, Features, Model, Prepared
from whymatch.explain import (
    EVIDENCE_NEIGHBORS,
    BadTarget,
    Target,
    class_probability_target,
    class_score_target,
    evidence_target,
    similarity_target,
    unit_target,
)
from whymatch.index import GalleryVersion, Selection, content_digest
from whymatch.server.difference_values import DifferenceRequest, OfClass, OfImage, OfNeighbors, OfUnit
from whymatch.server.sources import ImageName, Images, Source


async def find_targets(
    images: Images, model: Model, explainer: Executor, request: DifferenceRequest, content: bytes, image: Prepared
) -> list[Target]:
    """Return the targets of a request.

    content: the file of the image to explain. image: the same as the network gets it.

    Raises:
        BadTarget, UnknownImage, NoClassScores, and the errors of galleries and images.
    """
    version = await images.version(request.gallery)
    scores = np.zeros((1, 0), np.float32)
    if any(isinstance(one, OfClass) for one in request.targets):
        pixels, loop = np.stack([image.pixels]), asyncio.get_running_loop()
        scores = await loop.run_in_executor(explainer, model.class_scores, pixels)
    targets = []
    for one in request.targets:
        match one:
            case OfClass():
                targets.append(_class(one, model, scores[0]))
            case OfUnit():
                targets.append(unit_target(one.layer, one.channel, one.cell))
            case OfImage():
                features = await images.features(one.source, version.head)
                targets.append(similarity_target(_name(one.source), features.embedding, version.head))
            case OfNeighbors():
                features = await images.features(request.source, version.head)
                if one.image and one.image.gallery == request.gallery:  # raises UnknownImage
                    await images.found(one.image.gallery, [one.image.image])
                targets.append(await asyncio.to_thread(_evidence, one, content, version, features))
    return targets


def _class(asked: OfClass, model: Model, scores: Array) -> Target:
    if asked.instances is None:
        return class_score_target(model, asked.name, scores)
    return class_probability_target(model, asked.name, scores, instances=asked.instances)


def _evidence(asked: OfNeighbors, content: bytes, version: GalleryVersion, features: Features) -> Target:
    """Return the evidence for a label, or for one image, among the leading neighbors other than the image itself."""
    image = asked.image
    if image and image.gallery != version.gallery:
        raise BadTarget(f"image {image.image!r} is of gallery {image.gallery!r}; take one of {version.gallery!r}")
    others = Selection(without_contents=frozenset([content_digest(content)]))
    [matches] = version.search(features.embedding[None], EVIDENCE_NEIGHBORS, others)
    found = [match.image for match in matches]
    embeddings = version.embeddings([one.name for one in found])
    if image:
        name, belongs, groups = image.image, [one.name == image.image for one in found], len(found)
    else:
        name, belongs = asked.label, [one.label == asked.label for one in found]
        groups = len({one.label for one in found})
    return evidence_target(name, embeddings, np.array(belongs, bool), groups, version.count(), version.head)


def _name(source: Source) -> str:
    return source.image if isinstance(source, ImageName) else "the given image"
