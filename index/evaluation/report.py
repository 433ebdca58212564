"""The output of `whymatch evaluate`: a table, and a JSON document, whose names are promises to other programs."""

from collections.abc import Sequence
from dataclasses import dataclass

from whymatch.embed.terminal import short
from whymatch.index.evaluation.embedding import Unreadable
from whymatch.index.evaluation.metrics import Quality


@dataclass(frozen=True)
class Row:
    """One model, measured."""

    model: str
    """As the command line names it."""
    fingerprint: str | None
    """None for the baseline, which is not a model."""
    dimensions: int
    images: int
    """Embedded: gallery and queries."""
    quality: Quality
    seconds: float
    """To embed and to search; not to load the model."""

    def document(self) -> dict[str, object]:
        """Return the row for `--json`."""
        return {
            "model": self.model,
            "fingerprint": self.fingerprint,
            "dimensions": self.dimensions,
            "images": self.images,
            "queries": self.quality.queries,
            "labels": self.quality.labels,
            "precision_at_1": self.quality.precision_at_1,
            "recall_at": self.quality.recall_at,
            "map": self.quality.mean_average_precision,
            "map_at_r": self.quality.map_at_r,
            "seconds": round(self.seconds, 3),
        }

    def measures(self) -> dict[str, float]:
        """Return the measures under the names of table and plot."""
        return {
            "precision@1": self.quality.precision_at_1,
            **{f"recall@{k}": value for k, value in self.quality.recall_at.items() if k > 1},  # @1 is precision@1
            "mAP": self.quality.mean_average_precision,
            "mAP@R": self.quality.map_at_r,
        }


def document(rows: Sequence[Row], single: Sequence[str], unreadable: Unreadable) -> dict[str, object]:
    """Return all that was measured, ready for JSON."""
    return {
        "models": [row.document() for row in rows],
        "single": list(single),
        "skipped": [{"path": str(path), "reason": reason} for path, reason in unreadable.items()],
    }


def table(rows: Sequence[Row], single: Sequence[str]) -> str:
    """Return the measures as a table, a line for each model, and what they were measured on."""
    width = max(len("model"), *(len(short(row.model)) for row in rows))
    lines = [f"{'model':{width}}" + "".join(f"{name:>13}" for name in [*rows[0].measures(), "seconds"])]
    for row in rows:
        values = "".join(f"{value:13.3f}" for value in row.measures().values())
        lines.append(f"{short(row.model):{width}}{values}{row.seconds:13.1f}")
    quality = rows[0].quality
    lines.append(f"{quality.queries} queries of {quality.labels} labels, {rows[0].images} images in all")
    if single:
        lines.append(f"labels without another image to find, which are no queries: {len(single)}")
    return "\n".join(lines)
