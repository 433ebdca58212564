"""Which labels the units of a layer prefer, and which units detect a label, for one network or several side by side."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from whymatch.client.results import Provenance
from whymatch.client.unit_results import UnitDescription


@dataclass(frozen=True, eq=False)
class NetworkLabels:
    """The labels that the units of one network's layer prefer."""

    network: str
    layer: str
    model: str
    """The fingerprint of the model."""
    units: Sequence[UnitDescription]
    precision: float
    """The least precision of a unit that detects a label."""
    label_counts: Mapping[str, int]
    """How many different images of the gallery have each label."""

    @property
    def provenance(self) -> Provenance | None:
        """Where the answer of the network's server comes from."""
        return self.units[0].provenance if self.units else None

    @property
    def dead_count(self) -> int:
        """Units that respond to no image."""
        return sum(unit.is_dead for unit in self.units)

    @property
    def detectors(self) -> dict[str, list[int]]:
        """The units that detect each label."""
        firsts = [(unit.channel, unit.labels[0].label, unit.labels[0].precision) for unit in self.units if unit.labels]
        return detectors(firsts, self.precision)

    @property
    def frequency_correlation(self) -> float | None:
        """Pearson's correlation, over all labels of the gallery, of a label's images with the units that detect it.

        None where one of the two is the same for all labels, or there are fewer than three labels.
        """
        found = self.detectors
        images = np.array([*self.label_counts.values()], float)
        units = np.array([len(found.get(label, ())) for label in self.label_counts], float)
        if len(images) < 3 or np.ptp(images) == 0 or np.ptp(units) == 0:
            return None
        return float(np.corrcoef(images, units)[0, 1])

    def text(self) -> str:
        """Summarize the layer in one line."""
        detecting, labels = sum(map(len, self.detectors.values())), len(self.detectors)
        each = f", {detecting / labels:.1f} units each" if labels else ""
        related = self.frequency_correlation
        with_frequency = "" if related is None else f"; correlation with the label's number of images {related:.2f}"
        return (
            f"{self.network} {self.layer}: {detecting} of {len(self.units)} units detect {labels} labels{each}; "
            f"{self.dead_count} are dead{with_frequency}"
        )


def detectors(firsts: Iterable[tuple[int, str, float]], precision: float) -> dict[str, list[int]]:
    """Return the units that detect each label, the most precise first; the label of most units first.

    firsts: channels, each with the label of most of its leading images, and their share.
    precision: the least share of a unit that detects a label.
    """
    found: dict[str, list[tuple[float, int]]] = {}
    for channel, label, share in firsts:
        if share >= precision:
            found.setdefault(label, []).append((-share, channel))
    ordered = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    return {label: [channel for _, channel in sorted(units)] for label, units in ordered}


def side_by_side(networks: Sequence[NetworkLabels], most: int = 8) -> list[str]:
    """Return a line for each label that is detected, with its units in each network, separated by tabs."""
    labels = dict.fromkeys(label for one in networks for label in one.detectors)
    return ["\t".join([label, *(_units(one.detectors.get(label, []), most) for one in networks)]) for label in labels]


def _units(channels: Sequence[int], most: int) -> str:
    shown = " ".join(map(str, channels[:most]))
    more = f" and {len(channels) - most} more" if len(channels) > most else ""
    return f"{len(channels)}: {shown}{more}" if channels else "-"
