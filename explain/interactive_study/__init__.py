"""The experiments of the InterActive paper on labeled folders: do weighted features make better descriptors?"""

from whymatch.explain.interactive_study.classification import Accuracy, accuracy_of
from whymatch.explain.interactive_study.descriptors import (
    Descriptor,
    Variant,
    allows,
    default_layers,
    describe,
    variants,
)
from whymatch.explain.interactive_study.split import Split, draw_split
from whymatch.explain.interactive_study.store import Store, describe_images

__all__ = [
    "Accuracy",
    "Descriptor",
    "Split",
    "Store",
    "Variant",
    "accuracy_of",
    "allows",
    "default_layers",
    "describe",
    "describe_images",
    "draw_split",
    "variants",
]
