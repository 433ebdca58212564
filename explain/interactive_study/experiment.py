"""What is measured: the paper's tables 1 and 2, from descriptors on disk."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from whymatch.embed import Layer, Layers
from whymatch.explain.interactive_study.classification import Accuracy, accuracy_of, concatenated
from whymatch.explain.interactive_study.descriptors import Descriptor, Variant, allows
from whymatch.explain.interactive_study.inputs import InputKind
from whymatch.explain.interactive_study.split import Split
from whymatch.explain.interactive_study.store import Store
from whymatch.index.evaluation.embedding import Advance, Unreadable


@dataclass(frozen=True, eq=False)
class Plan:
    """Layers, their variants, and which of them there are."""

    layers: Sequence[Layer]
    variants: Sequence[Variant]
    descriptors: Sequence[Descriptor]
    """Those that the layers allow, each once."""
    below_last: Sequence[str] = ()
    """Names of the layers that the last layer alone reads: their `next` is their `last`."""

    @property
    def complete(self) -> list[Layer]:
        """The layers with all variants: those to concatenate, so that each variant has the same layers."""
        return [layer for layer in self.layers if all(self.has(layer, variant) for variant in self.variants)]

    @property
    def classifiers(self) -> int:
        """How many are trained for each kind of inputs."""
        return len(self.descriptors) + (len(self.variants) if len(self.complete) > 1 else 0)

    def has(self, layer: Layer, variant: Variant) -> bool:
        """Say whether a layer has a variant."""
        return self.descriptor(layer, variant) in self.descriptors

    def descriptor(self, layer: Layer, variant: Variant) -> Descriptor:
        """Return the descriptor that is a variant of a layer."""
        same = layer.name in self.below_last and variant.supervision == "next"
        return Descriptor(layer.name, replace(variant, supervision="last") if same else variant)

    @property
    def rows(self) -> list[tuple[Layer, Variant]]:
        """The lines of table 1: as in the paper, `next` is left out where it is `last`."""
        every = itertools.product(self.layers, self.variants)
        return [(layer, variant) for layer, variant in every if self.descriptor(layer, variant).variant == variant]


def plan_of(layers: Layers, names: Sequence[str], variants: Sequence[Variant]) -> Plan:
    """Find layers by name, each once, in the order in which they compute.

    Raises:
        BadLayer: the network has no such layer.
    """
    wanted = {layers.find(name).name for name in names}
    found = [layer for layer in layers.all if layer.name in wanted]
    plan = Plan(found, variants, (), [layer.name for layer in found if _is_below_last(layers, layer)])
    pairs = [(layer, variant) for layer, variant in plan.rows if allows(layers, layer, variant)]
    return replace(plan, descriptors=[Descriptor(layer.name, variant) for layer, variant in pairs])


def _is_below_last(layers: Layers, layer: Layer) -> bool:
    responses = [layers.response_of(reader) for reader in layers.readers(layer.node)]
    return bool(responses) and all(response is layers.last.node for response in responses)


@dataclass(frozen=True)
class Row:
    """A line of a table."""

    layer: str
    """Its name, or `all 9` of 9 concatenated layers."""
    variant: Variant
    dimensions: int
    accuracies: Mapping[InputKind, Accuracy | None]
    """By the kind of inputs; None where the layer does not have the variant."""


@dataclass(frozen=True, eq=False)
class Results:
    """Both tables, and what they were measured on."""

    layers: list[Row]
    """Table 1."""
    concatenated: list[Row]
    """Table 2; empty if fewer than two layers have all variants."""
    concatenated_layers: list[str]
    split: Split
    """The images that counted."""
    unreadable: Unreadable
    below_last: Sequence[str]
    """Layers whose `next` is their `last`, and has no line of its own."""
    dropped: list[str]
    """Classes that were left out, for they lost all images to learn from, or all to test on."""


def measure(
    stores: Mapping[InputKind, Store], split: Split, plan: Plan, advance: Advance = lambda images: None
) -> Results:
    """Train and test a classifier on every descriptor, and on all layers together.

    stores: by the kind of inputs; each holds the images of the split.
    advance: called with the number of images that were classified since.

    Raises:
        BadFolder: too few images can be read, or a file of descriptors is damaged.
    """
    unreadable: Unreadable = {}
    for store in stores.values():
        unreadable |= store.unreadable()
    kept = split.kept(unreadable)
    left = Split([image for image, keep in zip(split.images, kept, strict=True) if keep], split.training[kept])
    trials = [_Trial(kind, store, kept, left, plan, advance) for kind, store in stores.items()]
    together = plan.complete if len(plan.complete) > 1 else []
    return Results(
        [_row(trials, layer.name, [layer], variant) for layer, variant in plan.rows],
        [_row(trials, f"all {len(together)}", together, variant) for variant in plan.variants if together],
        [layer.name for layer in together],
        left,
        dict(sorted(unreadable.items())),
        plan.below_last,
        sorted(set(split.classes) - set(left.classes)),
    )


@dataclass(frozen=True, eq=False)
class _Trial:
    """All that is measured on one kind of inputs."""

    kind: InputKind
    store: Store
    kept: NDArray[np.bool_]
    """Which of the store's images count, (n,)."""
    split: Split
    """Of these."""
    plan: Plan
    advance: Advance

    def accuracy(self, layers: Sequence[Layer], variant: Variant) -> Accuracy | None:
        if not all(self.plan.has(layer, variant) for layer in layers):
            return None
        parts = [self.store.read(self.plan.descriptor(layer, variant).name)[self._rows] for layer in layers]
        found = accuracy_of(concatenated(parts), self.split.labels, self.split.training)
        self.advance(int((~self.split.training).sum()))
        return found

    @cached_property
    def _rows(self) -> NDArray[np.bool_]:
        """Which of the images that the store could read count."""
        unreadable = self.store.unreadable()
        return self.kept[[path not in unreadable for path in self.store.paths]]


def _row(trials: Sequence[_Trial], name: str, layers: Sequence[Layer], variant: Variant) -> Row:
    dimensions = sum(layer.channels for layer in layers)
    return Row(name, variant, dimensions, {trial.kind: trial.accuracy(layers, variant) for trial in trials})
