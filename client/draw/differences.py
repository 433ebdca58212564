"""Pictures of prediction difference, in the manner of the paper's figures: a row for each map, with its setting."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from whymatch.client.draw.decode import decode
from whymatch.client.draw.folder import clear_pictures, note_pictures
from whymatch.client.draw.runs import DifferenceRun, each_map
from whymatch.client.draw.saving import save_png
from whymatch.client.draw.tiles import fitted, framed, side_by_side, stacked, text_panel, tile
from whymatch.client.results import DifferenceMap, Provenance

TILE = (240, 240)
"""Width and height of one picture of a row."""
PICTURE_PX = 512
"""The longer side of an image that is kept for drawing."""
STRONGEST = 0.05
"""The share of the pixels that the paper's figure 3 shows."""
BRIGHT = 0.01
"""The share of the pixels of a sensitivity map that is white: a few are far steeper than all others."""
FOR, AGAINST, NOTHING = np.array([[178, 24, 43], [33, 102, 172], [255, 255, 255]], np.float32)
"""Red, blue and white."""
TINY = 1e-30
LEGEND = [
    "map: red supports the target, blue speaks against it, white is worth nothing",
    "k: window, l: its context, in pixels of the network's input; S: samples of each window",
]


def load_picture(content: bytes) -> Image.Image | None:
    """Return an image upright and small, or None if only the server can read it."""
    try:
        picture = decode(content)
    except (OSError, Image.DecompressionBombError):
        return None
    picture.thumbnail((PICTURE_PX, PICTURE_PX))
    return picture


def write_maps(runs: Sequence[DifferenceRun], folder: Path) -> list[Path | None]:
    """Write each map over its image, `IMAGE-TARGET-kWINDOW-SAMPLER.png`, and `sheet.png`.

    Returns the file of each map, None for a map that came without its picture.
    """
    clear_pictures(folder)
    rows = each_map(runs)
    files: list[Path | None] = []
    for stem, (run, one) in zip(_stems(rows), rows, strict=True):
        file = folder / f"{stem}.png" if one.overlay_png else None
        if file:
            save_png(one.overlay_png, file, run.explanation.provenance)
        files.append(file)
    save_png(sheet(runs), folder / "sheet.png", _common_provenance(runs))
    note_pictures(folder, [*filter(None, files), folder / "sheet.png"])
    return files


def write_live(run: DifferenceRun, file: Path) -> None:
    """Write the sheet of a run, also of one that is not finished; readers of the file always find a whole picture."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{file.name}.part")
    save_png(sheet([run]), unfinished, run.explanation.provenance)
    unfinished.replace(file)


def sheet(runs: Sequence[DifferenceRun]) -> Image.Image:
    """Return one picture of all maps, a row for each, with its setting."""
    rows = [_row(run, one) for run, one in each_map(runs)]
    return framed(stacked([*rows, text_panel(LEGEND, max(row.width for row in rows))]))


def colored(values: NDArray[np.float32], limit: float) -> Image.Image:
    """Return values (rows, columns) as colors: red up to `limit`, blue down to -limit, white at 0."""
    share = (values / max(limit, TINY)).clip(-1, 1)[..., None]
    colors = NOTHING + np.abs(share) * (np.where(share > 0, FOR, AGAINST) - NOTHING)
    return Image.fromarray(colors.round().astype(np.uint8))


def gray(values: NDArray[np.float32], limit: float) -> Image.Image:
    """Return values (rows, columns) that are not negative in gray: 0 is black, `limit` and more is white."""
    share = (values / max(limit, TINY)).clip(0, 1)
    return Image.fromarray((share * 255).round().astype(np.uint8))


def _common_provenance(runs: Sequence[DifferenceRun]) -> Provenance | None:
    """Return where the answers come from if there is one answer alone."""
    return runs[0].explanation.provenance if len(runs) == 1 else None


def _row(run: DifferenceRun, one: DifferenceMap) -> Image.Image:
    limit = _limit(one)
    pictures = side_by_side([_captioned(picture, caption) for picture, caption in _pictures(run, one, limit)])
    how = f"{run}; scale {-limit:.3g} to {limit:.3g} {one.measure}; {run.progress}"
    lines = [f"{run.title}   {one.target} = {one.value:.4g}", how]
    return stacked([pictures, text_panel(lines, max(pictures.width, 3 * TILE[0]))])


def _pictures(run: DifferenceRun, one: DifferenceMap, limit: float) -> list[tuple[Image.Image, str]]:
    """Return the pictures of a map, with captions."""
    shown: list[tuple[Image.Image, str]] = []
    if run.picture:
        shown.append((fitted(run.picture, TILE), "image"))
    if one.sensitivities is not None:
        bright = float(np.quantile(one.sensitivities, 1 - BRIGHT))
        shown.append((_pixels(gray(one.sensitivities, bright)), f"sensitivity, {BRIGHT:.0%} is white"))
    shown.append((_pixels(colored(one.values, limit)), "map"))
    if one.overlay_png:
        shown.append((fitted(one.overlay(), TILE), "map over the image"))
    mask = Image.fromarray(one.strongest(STRONGEST).astype(np.uint8) * 255)
    shown.append((_pixels(mask), f"strongest {STRONGEST:.0%}"))
    if one.standard_errors is not None:
        largest = float(one.standard_errors.max())
        shown.append((_pixels(gray(one.standard_errors, largest)), f"std. error, up to {largest:.2g}"))
    return shown


def _pixels(picture: Image.Image) -> Image.Image:
    """Return a picture of the network's input as large as a tile, each pixel with sharp edges."""
    return fitted(picture, TILE, Image.Resampling.NEAREST)


def _captioned(picture: Image.Image, caption: str) -> Image.Image:
    return stacked([tile(picture, TILE), text_panel([caption], TILE[0])])


def _limit(one: DifferenceMap) -> float:
    """Return the value of the strongest color: the overlay's, so that both pictures have the same scale."""
    scale = one.color_scale
    return max(-scale.low, scale.high) if scale else float(np.abs(one.values).max())


def _stems(rows: Sequence[tuple[DifferenceRun, DifferenceMap]]) -> list[str]:
    """Return a name for the file of each map, no two alike."""
    stems: list[str] = []
    for run, one in rows:
        setting, sampler = run.explanation.setting, run.explanation.sampler
        made = [f"k{setting.window_px}" if setting else "", sampler.kind if sampler else "", run.network]
        target = re.sub(r"^similarity:.*[/\\]", "similarity:", one.target)
        parts = [Path(run.image or run.explanation.name).name, target, *made]
        stem = re.sub(r"[^\w.-]", "_", "-".join(part for part in parts if part))[:80]
        again = (f"{stem}-{number}" for number in range(2, len(rows) + 2))
        stems.append(stem if stem not in stems else next(other for other in again if other not in stems))
    return stems
