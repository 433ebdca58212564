"""Pictures of maps in a folder: a file for each, as the server drew it, and a sheet of the whole answer."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from PIL import Image

from whymatch.client import results
from whymatch.client.draw.outlines import draw_best_box, draw_numbered, draw_regions
from whymatch.client.draw.saving import save_png
from whymatch.client.draw.tiles import bars_panel, fitted, framed, scale_panel, side_by_side, stacked, text_panel, tile
from whymatch.client.inputs import Region

SMALL, LARGE = (260, 200), (520, 420)
"""Width and height of the tiles of a search and of an explanation, in pixels."""
COLUMNS = 5
TINY = 1e-30
MOST = 10
"""No more pairs of cells and channels than this are drawn."""


def write_search(
    result: results.SearchResult,
    folder: Path,
    *,
    query_regions: Sequence[Region] = (),
    match_regions: Sequence[Region] = (),
) -> dict[str, Path]:
    """Write the maps of each match as `RANK-query.png` and `RANK-match.png`, and `sheet.png`; return them by stem."""
    written: dict[str, Path] = {}
    for rank, match in enumerate(result, start=1):
        sides = {f"{rank:02}-query": match.query_map, f"{rank:02}-match": match.match_map}
        written |= _write_maps(sides, folder, result.provenance)
    folder.mkdir(parents=True, exist_ok=True)
    sheet = search_sheet(result, query_regions, match_regions)
    save_png(sheet, folder / "sheet.png", result.provenance)
    return written


def write_explanation(
    explanation: results.MatchExplanation,
    folder: Path,
    *,
    query_regions: Sequence[Region] = (),
    match_regions: Sequence[Region] = (),
) -> dict[str, Path]:
    """Write both maps as `query.png` and `match.png`, and `sheet.png`; return the maps by stem."""
    maps = {"query": explanation.query_map, "match": explanation.match_map}
    written = _write_maps(maps, folder, explanation.provenance)
    sheet = explanation_sheet(explanation, query_regions, match_regions)
    save_png(sheet, folder / "sheet.png", explanation.provenance)
    return written


def write_label(explanation: results.LabelExplanation, label: str, folder: Path) -> dict[str, Path]:
    """Write the map as `query.png`, and `sheet.png`; return the map by its stem."""
    written = _write_maps({"query": explanation.query_map}, folder, explanation.provenance)
    save_png(label_sheet(explanation, label), folder / "sheet.png", explanation.provenance)
    return written


def search_sheet(
    result: results.SearchResult, query_regions: Sequence[Region] = (), match_regions: Sequence[Region] = ()
) -> Image.Image:
    """Return one picture of a search: for each match the query's map, the match's map, rank, score, label and name."""
    panels = [_match_panel(rank, match, query_regions, match_regions) for rank, match in enumerate(result, start=1)]
    rows = [panels[start : start + COLUMNS] for start in range(0, len(panels), COLUMNS)]
    lines = [side_by_side(row) for row in rows] or [text_panel(["no matches"], LARGE[0])]
    sides = "above: where in the query; below: where in the match"
    return framed(stacked([*lines, _legend(result.color_scale, [sides, *_key([*query_regions, *match_regions])])]))


def explanation_sheet(
    explanation: results.MatchExplanation, query_regions: Sequence[Region] = (), match_regions: Sequence[Region] = ()
) -> Image.Image:
    """Return one picture of an explanation: both maps with corresponding cells, the leading channels, a legend."""
    pairs = explanation.correspondences[:MOST]
    query = _map_tile(explanation.query_map, LARGE, query_regions, [pair.query_box for pair in pairs])
    match = _map_tile(explanation.match_map, LARGE, match_regions, [pair.match_box for pair in pairs])
    regions = [*query_regions, *match_regions]
    numbers = ["numbers: the pairs of cells that contribute most"] if pairs else []
    legend = _legend(explanation.color_scale, [_score_line(explanation, bool(regions)), *numbers, *_key(regions)])
    maps = [_captioned(query, "query"), _captioned(match, "match")]
    return framed(stacked([side_by_side(maps), side_by_side([_channels_panel(explanation), legend])]))


def label_sheet(explanation: results.LabelExplanation, label: str) -> Image.Image:
    """Return one picture of a label's explanation: the map, its score and a legend."""
    lines = [f"label {label!r}", f"mean score {explanation.score:.4f} over {explanation.image_count} images"]
    return framed(
        stacked(
            [_map_tile(explanation.query_map, LARGE), _legend(explanation.color_scale, [*lines, *_key(())])],
        )
    )


def write_interactive(explanation: results.InterActiveExplanation, folder: Path) -> list[Path]:
    """Write each map over its image and as it is, `LAYER-SUPERVISION-pNORM.png` and `...-raw.png`, and `sheet.png`.

    Returns the maps over the image.
    """
    stems = [_stem(one.setting) for one in explanation.results]
    overlays = {stem: one.map for stem, one in zip(stems, explanation.results, strict=True)}
    written = _write_maps(overlays, folder, explanation.provenance)
    for stem, one in zip(stems, explanation.results, strict=True):
        save_png(_raw(one.map), folder / f"{stem}-raw.png", explanation.provenance)
    save_png(interactive_sheet(explanation), folder / "sheet.png", explanation.provenance)
    return list(written.values())


def interactive_sheet(explanation: results.InterActiveExplanation) -> Image.Image:
    """Return one picture like the paper's figure 3: a row for each layer, its maps over the image and as they are."""
    rows: dict[str, list[Image.Image]] = {}
    for one in explanation.results:
        pictures = [tile(fitted(picture, SMALL), SMALL) for picture in (one.map.overlay(), _raw(one.map))]
        caption = [one.setting.layer, f"{one.setting.supervision}, p = {one.setting.norm:g}"]
        rows.setdefault(one.setting.layer, []).append(stacked([*pictures, text_panel(caption, SMALL[0])]))
    lines = ["weights of neurons, summed over the channels; brighter is more active", "each map has its own scale"]
    return framed(stacked([*map(side_by_side, rows.values()), text_panel(lines, 2 * SMALL[0])]))


def _stem(setting: results.InterActiveSetting) -> str:
    return re.sub(r"[^\w.-]", "_", f"{setting.layer}-{setting.supervision}-p{setting.norm:g}")


def _raw(weight_map: results.WeightMap) -> Image.Image:
    """Return a map in gray and the shape of its image: black is 0 or a lower least value, white the largest."""
    values = weight_map.values
    low, high = min(0.0, float(values.min())), max(float(values.max()), TINY)
    gray = Image.fromarray(((values - low) / (high - low) * 255).astype("float32"), "F")
    return gray.resize((weight_map.width_px, weight_map.height_px), Image.Resampling.BILINEAR).convert("L")


def _write_maps(
    maps: Mapping[str, results.SimilarityMap | results.WeightMap | None],
    folder: Path,
    provenance: results.Provenance | None,
) -> dict[str, Path]:
    """Write the picture of each map as `STEM.png`; return the files by stem."""
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, Path] = {}
    for stem, similarity_map in maps.items():
        if similarity_map:
            files[stem] = folder / f"{stem}.png"
            save_png(similarity_map.overlay_png, files[stem], provenance)
    return files


def _match_panel(
    rank: int, match: results.Match, query_regions: Sequence[Region], match_regions: Sequence[Region]
) -> Image.Image:
    sides = ((match.query_map, query_regions), (match.match_map, match_regions))
    tiles = [_map_tile(similarity_map, SMALL, regions) for similarity_map, regions in sides if similarity_map]
    share = f" = {match.region_share:.0%}" if match.region_share else ""
    share = f"{share} of {match.image_score:.3f}" if query_regions or match_regions else ""
    caption = [f"{rank}.  {match.score:.3f}{share}  {match.label}", match.name]
    return stacked([*tiles, text_panel(caption, SMALL[0])])


def _map_tile(
    similarity_map: results.SimilarityMap,
    size: tuple[int, int],
    regions: Iterable[Region] = (),
    cells: Sequence[results.Box] = (),
) -> Image.Image:
    """Return the picture of a map with its regions, its best box and its numbered cells."""
    picture = fitted(similarity_map.overlay(), size)
    draw_regions(picture, similarity_map, regions)
    draw_best_box(picture, similarity_map)
    draw_numbered(picture, similarity_map, cells)
    return tile(picture, size)


def _captioned(picture: Image.Image, text: str) -> Image.Image:
    return stacked([picture, text_panel([text], picture.width)])


def _channels_panel(explanation: results.MatchExplanation) -> Image.Image:
    """Return the leading channels as bars with their parts of the score."""
    rows = [(f"channel {one.channel}", one.score, str(one)) for one in explanation.channels[:MOST]]
    return bars_panel(rows, LARGE[0])


def _legend(scale: results.ColorScale | None, lines: Sequence[str]) -> Image.Image:
    panels = [text_panel(lines, LARGE[0])]
    return stacked([*panels, scale_panel(scale, LARGE[0])] if scale else panels)


def _score_line(explanation: results.MatchExplanation, by_region: bool) -> str:
    whole = f" of the {explanation.image_score:.4f} of the whole images" if by_region else ""
    return f"score {explanation.score:.4f}{whole}"


def _key(regions: Sequence[Region]) -> list[str]:
    """Say what the lines over the pictures mean."""
    lines = ["white frame: the best box of a map (--box-share)"]
    if any(region.weight > 0 for region in regions):
        lines.append("green: a region that counts")
    if any(region.weight < 0 for region in regions):
        lines.append("blue: a region that counts against")
    return lines
