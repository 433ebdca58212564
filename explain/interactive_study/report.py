"""The output of `whymatch study interactive`: the paper's tables, and a JSON document for other programs."""

import math
from collections.abc import Sequence

from whymatch.explain.interactive_study.classification import SLACK
from whymatch.explain.interactive_study.experiment import Results, Row
from whymatch.explain.interactive_study.inputs import InputKind


def tables(results: Results) -> str:
    """Return tables 1 and 2 of the paper, in percent; the best of each group and kind of inputs has a star."""
    training = results.split.training
    parts = [_table(results.layers)]
    if results.concatenated:
        parts.append(_table(results.concatenated))
    parts.append(
        f"{training.sum()} images to learn from and {(~training).sum()} to test on, of {len(results.split.classes)} "
        "classes; accuracy in %, the mean over the classes; * is the best of its group"
    )
    return "\n\n".join(parts)


def notes(results: Results) -> list[str]:
    """Return what a reader of the tables should know, a sentence each."""
    found = [f"{path} was left out: {reason}" for path, reason in results.unreadable.items()]
    if results.dropped:
        found.append(
            f"left out, for too few of their images can be read: the classes {', '.join(results.dropped)}; "
            "the others are what was measured"
        )
    weighed = {row.variant.norm for row in results.layers if row.variant.supervision}
    if results.below_last and weighed:
        found.append(
            f"Next of {', '.join(results.below_last)} is the same as Last and is listed once: the last layer reads it"
        )
    every = {row.layer for row in results.layers}
    if results.concatenated and len(results.concatenated_layers) < len(every):
        missing = [name for name in every if name not in results.concatenated_layers]
        found.append(f"not concatenated, for they do not have all variants: {', '.join(sorted(missing))}")
    slow = [
        f"{row.layer} {row.variant.name} ({kind})"
        for row in [*results.layers, *results.concatenated]
        for kind, accuracy in row.accuracies.items()
        if accuracy and not accuracy.converged
    ]
    if slow:
        found.append(f"classifiers that were stopped before their optimum: {'; '.join(slow)}")
    return found


def document(results: Results) -> dict[str, object]:
    """Return all that was measured, ready for JSON; accuracies are 0 to 1, null where a layer has no such variant."""
    training = results.split.training
    return {
        "classes": len(results.split.classes),
        "training_images": int(training.sum()),
        "test_images": int((~training).sum()),
        "c": SLACK,
        "layers": [line for row in results.layers for line in _lines(row)],
        "concatenated": [line for row in results.concatenated for line in _lines(row)],
        "concatenated_layers": results.concatenated_layers,
        "next_is_last": list(results.below_last),
        "skipped": [{"path": str(path), "reason": reason} for path, reason in results.unreadable.items()],
        "dropped_classes": results.dropped,
    }


def _lines(row: Row) -> list[dict[str, object]]:
    norm = None if row.variant.supervision is None else row.variant.norm
    return [
        {
            "input": kind,
            "layer": row.layer,
            "model": row.variant.name,
            "supervision": row.variant.supervision,
            "norm": "inf" if norm == math.inf else norm,
            "aggregation": row.variant.aggregation,
            "dimensions": row.dimensions,
            "accuracy": accuracy and accuracy.mean,
            "converged": accuracy and accuracy.converged,
        }
        for kind, accuracy in row.accuracies.items()
    ]


def _table(rows: Sequence[Row]) -> str:
    kinds = list(rows[0].accuracies)
    width = max(len("Layer"), *(len(row.layer) for row in rows)) + 2
    lines = [f"{'Layer':{width}}{'Model':16}{'Dims':>6}" + "".join(f"{kind:>12} " for kind in kinds).rstrip()]
    for row in rows:
        group = [other for other in rows if other.layer == row.layer]
        values = "".join(_value(row, kind, group) for kind in kinds)
        lines.append(f"{row.layer:{width}}{row.variant.name:16}{row.dimensions:>6}{values}".rstrip())
    return "\n".join(lines)


def _value(row: Row, kind: InputKind, group: Sequence[Row]) -> str:
    accuracy = row.accuracies[kind]
    if accuracy is None:
        return f"{'-':>12} "
    best = max(found.mean for other in group if (found := other.accuracies[kind]))
    return f"{100 * accuracy.mean:12.2f}{'*' if accuracy.mean == best else ' '}"
