"""Measures how well models retrieve: of each query, whether images of its label come first."""

from whymatch.index.evaluation.embedding import embed_images
from whymatch.index.evaluation.histogram import color_histogram, embed_by_color
from whymatch.index.evaluation.metrics import Quality, findable, retrieval_quality
from whymatch.index.evaluation.trial import Trial, find_trial

__all__ = [
    "Quality",
    "Trial",
    "color_histogram",
    "embed_by_color",
    "embed_images",
    "find_trial",
    "findable",
    "retrieval_quality",
]
