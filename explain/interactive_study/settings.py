"""The settings that determine the descriptors on disk: those of other settings must not be mixed with them."""

from collections.abc import Mapping
from typing import cast

from whymatch.embed import Model
from whymatch.explain.interactive_study.experiment import Plan

FORMAT = 1
"""Of the descriptors on disk; raised by each change that changes them."""


def settings_of(model: Model, plan: Plan, images: Mapping[str, object]) -> dict[str, object]:
    """Return everything that determines the descriptors, ready for JSON.

    images: how they were drawn, and their fingerprint.
    """
    described = dict(model.description)
    preprocessing = cast(Mapping[str, object], described.pop("preprocessing"))
    del described["pooling"]  # descriptors are pooled in their own ways
    return {
        "format": FORMAT,
        **described,
        **preprocessing,
        "top_sha256": model.trunk.top_sha256,
        "layers": [layer.name for layer in plan.layers],
        "descriptors": [f"{variant.name}, {variant.aggregation}" for variant in plan.variants],
        **images,
    }
