"""How well the bundled model finds images of the same label, beside MobileNetV2, its teacher, and a color histogram."""

import tempfile
from pathlib import Path

from PIL import Image

from benchmarks.quality_cluttered import SHARED, WEIGHTS, find_photos, has_shared
from benchmarks.report import Figure
from whymatch.embed import Array, load_model
from whymatch.explain import Box
from whymatch.index.evaluation.embedding import embed_images
from whymatch.index.evaluation.histogram import embed_by_color
from whymatch.index.evaluation.metrics import Quality, retrieval_quality
from whymatch.index.evaluation.trial import Trial, find_trial

SMALLEST_PX = 40
"""Objects with a shorter side are left out."""
SEEN = {"grocery": "val__*", "clothing": "validation__*", "caltech101": "*_00[0-3]?.jpg"}
"""Folders whose images the training saw, without their labels."""


def run() -> list[Figure]:
    """Measure on objects that no training saw, and on images that this one saw."""
    if not has_shared("retrieving"):
        return []
    with tempfile.TemporaryDirectory() as folder:
        _cut_objects(Path(folder))
        unseen = _figure("objects cut out of coco128, never trained on", find_trial(Path(folder)))
    seen = [
        _figure(f"{name} ({include}), trained on without labels", find_trial(SHARED / "images" / name, include=include))
        for name, include in SEEN.items()
    ]
    return [unseen, *seen]


def _cut_objects(folder: Path) -> None:
    """Write each object of the cluttered photographs into a folder of its class."""
    for photo in find_photos():
        image = Image.open(photo.path).convert("RGB")
        boxes = [(label, region.shape) for label, regions in photo.boxes.items() for region in regions]
        for number, (label, box) in enumerate(boxes):
            assert isinstance(box, Box)
            left, right = round(box.left_px * image.width), round(box.right_px * image.width)  # they are relative
            top, bottom = round(box.top_px * image.height), round(box.bottom_px * image.height)
            if min(right - left, bottom - top) >= SMALLEST_PX:
                (folder / label).mkdir(exist_ok=True)
                image.crop((left, top, right, bottom)).save(folder / label / f"{photo.path.stem}-{number}.png")


def _figure(what: str, trial: Trial) -> Figure:
    teacher = load_model("mobilenet_v2", weights=WEIGHTS)
    paths = trial.paths
    found = (embed_images(load_model(), paths), embed_images(teacher, paths), embed_by_color(paths))
    ours, teachers, colors = (_quality(trial, vectors) for vectors, _ in found)
    others = f"MobileNetV2 {_both(teachers)}, color histogram {_both(colors)}"
    detail = f"mAP {ours.mean_average_precision:.3f}; {others}; {ours.queries} queries of {ours.labels} labels"
    return Figure(f"precision at 1 of the bundled model, {what}", ours.precision_at_1, detail=detail)


def _quality(trial: Trial, vectors: Array) -> Quality:
    return retrieval_quality(vectors, trial.labels, queries=trial.queries, gallery=trial.gallery)


def _both(quality: Quality) -> str:
    return f"{quality.precision_at_1:.3f} and {quality.mean_average_precision:.3f}"
