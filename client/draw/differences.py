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
from whymatch.client.draw.tiles import PALE, framed, side_by_side, stacked, text_panel, tile
from whymatch.client.results import DifferenceMap, Provenance

TILE = (240, 240)
"""Width and height of one picture of a row."""
PICTURE_PX = 512
"""The longer side of an image that is kept for drawing."""
STRONGEST = 0.05
"""The share of the pixels that the masks of the paper's figure 3 show."""
BRIGHT = 0.01
"""The share of the pixels of a sensitivity map that is white: a few are far steeper than all others."""
FOR, AGAINST, NOTHING = np.array([[178, 24, 43], [33, 102, 172], [255, 255, 255]], np.float32)
"""Red, blue and white."""
TINY = 1e-30
LEGEND = [
    "map: red supports the target, blue speaks against it, white is worth nothing",
    "k: window, l: its context, in pixels of the network's input, or cells of a layer; S: samples of each window",
]


def load_picture(content: bytes) -> Image.Image | None:
    """Return an image upright and small, or None if only the server can read it."""
    try:
        picture = decode(content)
    except (OSError, Image.DecompressionBombError):
        return None
    picture.thumbnail((PICTURE_PX, PICTURE_PX))
    return picture


def write_maps(
    runs: Sequence[DifferenceRun], folder: Path, *, share: float = STRONGEST, by_target: bool = False
) -> list[Path | None]:
    """Write each map over its image, `IMAGE-TARGET-kWINDOW-SAMPLER.png`, and `sheet.png`.

    share: of the pixels, or cells, in the masks of the strongest ones.
    by_target: put the rows of one target together, as in the paper's figure 6, not those of one image.

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
    save_png(sheet(runs, share=share, by_target=by_target), folder / "sheet.png", _common_provenance(runs))
    note_pictures(folder, [*filter(None, files), folder / "sheet.png"])
    return files


def write_live(run: DifferenceRun, file: Path, *, share: float = STRONGEST) -> None:
    """Write the sheet of a run, also of one that is not finished; readers of the file always find a whole picture."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{file.name}.part")
    save_png(sheet([run], share=share), unfinished, run.explanation.provenance)
    unfinished.replace(file)


def sheet(runs: Sequence[DifferenceRun], *, share: float = STRONGEST, by_target: bool = False) -> Image.Image:
    """Return one picture of all maps, a row for each, with its setting."""
    rows = [_row(run, one, share) for run, one in each_map(runs, by_target=by_target)]
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


def _row(run: DifferenceRun, one: DifferenceMap, share: float) -> Image.Image:
    limit = _limit(one)
    pictures = side_by_side([_captioned(picture, caption) for picture, caption in _pictures(run, one, limit, share)])
    how = f"{run}; scale {-limit:.3g} to {limit:.3g} {one.measure}; {run.progress}"
    lines = [f"{run.title}   {one.target} = {one.value:.4g}", how]
    return stacked([pictures, text_panel(lines, max(pictures.width, 3 * TILE[0]))])


def _pictures(run: DifferenceRun, one: DifferenceMap, limit: float, share: float) -> list[tuple[Image.Image, str]]:
    """Return the pictures of a map, with captions; all have the shape of the image, so that they line up."""
    shown: list[tuple[Image.Image, str]] = []
    if run.picture:
        shown.append((_whole(run.picture, one), "image"))
    if one.sensitivities is not None:
        bright = float(np.quantile(one.sensitivities, 1 - BRIGHT))
        shown.append((_placed(gray(one.sensitivities, bright), one), f"sensitivity, {BRIGHT:.0%} is white"))
    shown.append((_placed(colored(one.values, limit), one), "map"))
    if one.overlay_png:
        shown.append((_whole(one.overlay(), one), "map over the image"))
    if one.sensitivities is not None:
        shown.append((_placed(_mask(one.steepest(share)), one), f"steepest {100 * share:.3g}%"))
    shown.append((_placed(_mask(one.strongest(share)), one), f"strongest {100 * share:.3g}%"))
    if one.standard_errors is not None:
        largest = float(one.standard_errors.max())
        shown.append((_placed(gray(one.standard_errors, largest), one), f"std. error, up to {largest:.2g}"))
    return shown


def _mask(chosen: NDArray[np.bool_]) -> Image.Image:
    return Image.fromarray(chosen.astype(np.uint8) * 255)


def _whole(picture: Image.Image, one: DifferenceMap) -> Image.Image:
    """Return a picture of the whole image as large as a tile allows."""
    zoom = min(TILE[0] / one.width_px, TILE[1] / one.height_px)
    return picture.convert("RGB").resize((max(1, round(one.width_px * zoom)), max(1, round(one.height_px * zoom))))


def _placed(picture: Image.Image, one: DifferenceMap) -> Image.Image:
    """Return a picture of the pixels, or cells, of a map where they lie in the image, each with sharp edges."""
    ground = _whole(Image.new("RGB", (1, 1), PALE), one)
    x, y = ground.width / one.width_px, ground.height / one.height_px
    left, top = round(one.area.left_px * x), round(one.area.top_px * y)
    right, bottom = max(left + 1, round(one.area.right_px * x)), max(top + 1, round(one.area.bottom_px * y))
    ground.paste(picture.convert("RGB").resize((right - left, bottom - top), Image.Resampling.NEAREST), (left, top))
    return ground


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
        made = [run.layer, f"k{setting.window_px}" if setting else "", sampler.kind if sampler else "", run.network]
        target = re.sub(r"^similarity:.*[/\\]", "similarity:", one.target)
        parts = [Path(run.image or run.explanation.name).name, target, *made]
        stem = re.sub(r"[^\w.-]", "_", "-".join(part for part in parts if part))[:80]
        again = (f"{stem}-{number}" for number in range(2, len(rows) + 2))
        stems.append(stem if stem not in stems else next(other for other in again if other not in stems))
    return stems
