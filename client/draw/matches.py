"""Pictures of maps in a folder: a file for each, as the server drew it, and a sheet of the whole answer."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from whymatch.client import results
from whymatch.client.draw.folder import clear_pictures, note_pictures
from whymatch.client.draw.outlines import draw_best_box, draw_numbered, draw_regions
from whymatch.client.draw.saving import save_png
from whymatch.client.draw.tiles import bars_panel, fitted, framed, scale_panel, side_by_side, stacked, text_panel, tile
from whymatch.client.inputs import Point, Region

SMALL, LARGE = (260, 200), (520, 420)
"""Width and height of the tiles of a search and of an explanation, in pixels."""
COLUMNS = 5
TINY = 1e-30
RED, BLUE = "#b2182b", "#2166ac"
"""The ends of the color map of signed maps."""
NUMBERED = 5
"""Cells of a difference; more would hide it."""
MOST = 10
"""No more pairs of cells and channels than this are drawn."""


def write_search(
    result: results.SearchResult,
    folder: Path,
    *,
    query_regions: Sequence[Region] = (),
    match_regions: Sequence[Region] = (),
    query: Image.Image | None = None,
    originals: Sequence[Image.Image | None] = (),
) -> dict[str, Path]:
    """Write the maps of each match as `RANK-query.png` and `RANK-match.png`, and `sheet.png`; return them by stem.

    query, originals: the query and the matches as they are, for the sheet.
    """
    maps: dict[str, results.SimilarityMap | None] = {}
    for rank, match in enumerate(result, start=1):
        maps |= {f"{rank:02}-query": match.query_map, f"{rank:02}-match": match.match_map}
    sheet = search_sheet(result, query_regions, match_regions, query, originals)
    return _write_set(sheet, maps, folder, result.provenance)


def write_examples(result: results.SearchResult, names: Sequence[str], folder: Path) -> dict[str, Path]:
    """Write the maps of each match as `RANK-match.png` and `RANK-example-NUMBER.png`, and `sheet.png`.

    names: of the examples, as the sheet calls them. Returns the maps by stem.
    """
    maps: dict[str, results.SimilarityMap | None] = {}
    for rank, match in enumerate(result, start=1):
        maps[f"{rank:02}-match"] = match.match_map
        maps |= {f"{rank:02}-example-{number}": one for number, one in enumerate(match.example_maps, start=1)}
    return _write_set(examples_sheet(result, names), maps, folder, result.provenance)


def write_explanation(
    explanation: results.MatchExplanation,
    folder: Path,
    *,
    query_regions: Sequence[Region] = (),
    match_regions: Sequence[Region] = (),
) -> dict[str, Path]:
    """Write both maps as `query.png` and `match.png`, and `sheet.png`; return the maps by stem."""
    sheet = explanation_sheet(explanation, query_regions, match_regions)
    maps = {"query": explanation.query_map, "match": explanation.match_map}
    return _write_set(sheet, maps, folder, explanation.provenance)


def write_label(explanation: results.LabelExplanation, label: str, folder: Path) -> dict[str, Path]:
    """Write the map as `query.png`, and `sheet.png`; return the map by its stem."""
    sheet = label_sheet(explanation, label)
    return _write_set(sheet, {"query": explanation.query_map}, folder, explanation.provenance)


def write_ranking(
    explanation: results.RankingExplanation,
    names: tuple[str, str],
    folder: Path,
    *,
    query_regions: Sequence[Region] = (),
) -> dict[str, Path]:
    """Write the difference as `difference.png`, the matches' maps as `first.png` and `second.png`, and `sheet.png`.

    names: what the query is compared with. Returns the maps by stem.
    """
    sheet = ranking_sheet(explanation, names, query_regions)
    first, second = explanation.first.match_map, explanation.second.match_map
    maps = {"difference": explanation.difference_map, "first": first, "second": second}
    return _write_set(sheet, maps, folder, explanation.provenance)


def search_sheet(
    result: results.SearchResult,
    query_regions: Sequence[Region] = (),
    match_regions: Sequence[Region] = (),
    query: Image.Image | None = None,
    originals: Sequence[Image.Image | None] = (),
) -> Image.Image:
    """Return one picture of a search: the query, and for each match its maps, itself, rank, score, label and name."""
    pictures = originals or [None] * len(result)
    panels = [
        _match_panel(rank, match, query_regions, match_regions, picture)
        for rank, (match, picture) in enumerate(zip(result, pictures, strict=True), start=1)
    ]
    rows = [panels[start : start + COLUMNS] for start in range(0, len(panels), COLUMNS)]
    lines = [side_by_side(row) for row in rows] or [text_panel(["no matches"], LARGE[0])]
    regions = [*query_regions, *match_regions]
    sums = ["each map adds up to its score, the part that lies in the regions"] if regions else []
    words = [_order(result, any(pictures)), *sums, *_key(regions)]
    legend = _legend(result.color_scale, [*words, *_beyond(result.color_scale, _maps_of(result))])
    head = [_captioned(_outlined(query, result, query_regions), "query"), legend] if query else [legend]
    return framed(stacked([side_by_side(head), *lines]))


def examples_sheet(result: results.SearchResult, names: Sequence[str]) -> Image.Image:
    """Return one picture of a search by examples: for each match a row of its map and, with shares, the examples'."""
    words = [
        "in each row: a match with its score, and what each example contributes to it; the shares add up to the score",
        "each map adds up to the number below it; red speaks for the match, blue against it",
        *_key(()),
    ]
    if result.color_scale and result.color_scale.low >= 0:
        words[1] = "each map adds up to the number below it"
    maps = {"match": [match.match_map for match in result], "example": [one for m in result for one in m.example_maps]}
    legend = _legend(result.color_scale, [*words, *_beyond(result.color_scale, _largest(maps))])
    rows = [_example_row(rank, match, names) for rank, match in enumerate(result, start=1)]
    return framed(stacked([legend, *(rows or [text_panel(["no matches"], LARGE[0])])]))


def explanation_sheet(
    explanation: results.MatchExplanation, query_regions: Sequence[Region] = (), match_regions: Sequence[Region] = ()
) -> Image.Image:
    """Return one picture of an explanation: both maps with corresponding cells, the leading channels, a legend."""
    pairs = explanation.correspondences[:MOST]
    query_cells = [] if _is_point(query_regions) else [pair.query_box for pair in pairs]  # all of them are the point's
    match_cells = [] if _is_point(match_regions) else [pair.match_box for pair in pairs]
    query = _map_tile(explanation.query_map, LARGE, query_regions, query_cells)
    match = _map_tile(explanation.match_map, LARGE, match_regions, match_cells)
    regions = [*query_regions, *match_regions]
    scale, maps = explanation.color_scale, {"query": explanation.query_map, "match": explanation.match_map}
    lines = [_score_line(explanation, bool(regions)), "both maps add up to it"]
    if pairs:
        of_point = _is_point(query_regions) or _is_point(match_regions)
        what = "what corresponds most to the point, in order" if of_point else "the pairs of cells that contribute most"
        lines.append(f"numbers: {what}")
    legend = _legend(scale, [*lines, *_key(regions), *_beyond(scale, maps)])
    pictures = [_captioned(query, "query"), _captioned(match, "match")]
    return framed(stacked([side_by_side(pictures), side_by_side([_channels_panel(explanation), legend])]))


def label_sheet(explanation: results.LabelExplanation, label: str) -> Image.Image:
    """Return one picture of a label's explanation: the map, its score and a legend."""
    lines = [f"label {label!r}", f"mean score {explanation.score:.4f} over {explanation.image_count} images"]
    return framed(
        stacked(
            [_map_tile(explanation.query_map, LARGE), _legend(explanation.color_scale, [*lines, *_key(())])],
        )
    )


def ranking_sheet(
    explanation: results.RankingExplanation, names: tuple[str, str], query_regions: Sequence[Region] = ()
) -> Image.Image:
    """Return one picture of a ranking: the difference over the query, both matches, the channels and a legend."""
    gap, difference = explanation.gap, explanation.difference_map
    cells = [cell.box for cell in explanation.cells[:NUMBERED]]
    query = _map_tile(difference, LARGE, query_regions, cells)
    ranked = list(zip("AB", names, (explanation.first, explanation.second), strict=True))
    sides = [
        _captioned(_map_tile(one.match_map, LARGE), f"{letter}: {name}, score {one.score:.4f}")
        for letter, name, one in ranked
        if one.match_map
    ]
    scores = f"{explanation.first.score:.4f} - {explanation.second.score:.4f}"
    lines = [
        *(_of_label(letter, name, one) for letter, name, one in ranked if one.match_map is None),
        f"gap {gap:.4f} = {scores}; the map of the query adds up to it",
        "red: what makes A score more; blue: what makes B score more",
        "numbers: the cells that contribute most, for A or for B",
        *_key(query_regions),
    ]
    legend = _legend(explanation.color_scale, lines)
    of_matches = explanation.match_color_scale
    if of_matches:
        legend = stacked([legend, text_panel(["the scale of A and B:"], LARGE[0]), scale_panel(of_matches, LARGE[0])])
    parts = [(f"channel {one.channel}", one.score, f"{one.score:+.4f}") for one in explanation.channels[:MOST]]
    channels = bars_panel(parts, LARGE[0], (RED, BLUE))
    pictures = side_by_side([_captioned(query, "query: where the gap lies"), *sides])
    return framed(stacked([pictures, side_by_side([channels, legend])]))


def write_interactive(
    explanation: results.InterActiveExplanation, folder: Path, original: Image.Image | None = None
) -> list[Path]:
    """Write each map over its image and as it is, `LAYER-SUPERVISION-pNORM.png` and `...-raw.png`, and `sheet.png`.

    original: the image as it is, for the sheet. Returns the maps over the image.
    """
    stems = [_stem(one.setting) for one in explanation.results]
    overlays = {stem: one.map for stem, one in zip(stems, explanation.results, strict=True)}
    sheet = interactive_sheet(explanation, original)
    written = _write_set(sheet, overlays, folder, explanation.provenance)
    raw = [folder / f"{stem}-raw.png" for stem in stems]
    for file, one in zip(raw, explanation.results, strict=True):
        save_png(_raw(one.map), file, explanation.provenance)
    note_pictures(folder, raw)
    return list(written.values())


def interactive_sheet(explanation: results.InterActiveExplanation, original: Image.Image | None = None) -> Image.Image:
    """Return one picture like the paper's figure 3: a row for each layer, its maps over the image and as they are."""
    first = [_captioned(tile(fitted(original, SMALL), SMALL), "image")] if original else []
    rows: dict[str, list[Image.Image]] = {}
    for one in explanation.results:
        rows.setdefault(one.setting.layer, [*first]).append(_activeness_panel(one))
    lines = ["what the neurons at each place weigh, summed over the channels; each map has its own scale"]
    if any(one.color_scale and one.color_scale.low < 0 for one in explanation.results):
        lines.append("red is active, blue speaks against")
    lines.append("below: the same without the image, black is 0 or the least, white the most active")
    return framed(stacked([*map(side_by_side, rows.values()), text_panel(lines, 3 * SMALL[0])]))


def _activeness_panel(one: results.Activeness) -> Image.Image:
    """Return a map over the image with its scale, and as it is."""
    over, raw = (tile(fitted(picture, SMALL), SMALL) for picture in (one.map.overlay(), _raw(one.map)))
    scale = [scale_panel(one.color_scale, SMALL[0], unit="")] if one.color_scale else []
    caption = [one.setting.layer, f"{one.setting.supervision}, p = {one.setting.norm:g}"]
    return stacked([over, *scale, raw, text_panel(caption, SMALL[0])])


def _stem(setting: results.InterActiveSetting) -> str:
    return re.sub(r"[^\w.-]", "_", f"{setting.layer}-{setting.supervision}-p{setting.norm:g}")


def _raw(weight_map: results.WeightMap) -> Image.Image:
    """Return a map in gray and the shape of its image: black is 0 or a lower least value, white the largest."""
    values = weight_map.values
    low, high = min(0.0, float(values.min())), max(float(values.max()), TINY)
    gray = Image.fromarray(((values - low) / (high - low) * 255).astype("float32"), "F")
    return gray.resize((weight_map.width_px, weight_map.height_px), Image.Resampling.BILINEAR).convert("L")


def _write_set(
    sheet: Image.Image,
    maps: Mapping[str, results.SimilarityMap | results.WeightMap | None],
    folder: Path,
    provenance: results.Provenance | None,
) -> dict[str, Path]:
    """Write `sheet.png` and the picture of each map as `STEM.png`; return the latter by stem."""
    clear_pictures(folder)
    save_png(sheet, folder / "sheet.png", provenance)
    files: dict[str, Path] = {}
    for stem, one in maps.items():
        if one:
            files[stem] = folder / f"{stem}.png"
            save_png(one.overlay_png, files[stem], provenance)
    note_pictures(folder, [folder / "sheet.png", *files.values()])
    return files


def _match_panel(
    rank: int,
    match: results.Match,
    query_regions: Sequence[Region],
    match_regions: Sequence[Region],
    original: Image.Image | None,
) -> Image.Image:
    sides = ((match.query_map, query_regions), (match.match_map, match_regions))
    tiles = [_map_tile(similarity_map, SMALL, regions) for similarity_map, regions in sides if similarity_map]
    if original:
        tiles.append(tile(fitted(original, SMALL), SMALL))
    share = f" = {match.region_share:.0%}" if match.region_share else ""
    share = f"{share} of {match.image_score:.3f}" if query_regions or match_regions else ""
    caption = [f"{rank}.  {match.score:.3f}{share}", *filter(None, [match.label]), match.name]
    return stacked([*tiles, text_panel(caption, SMALL[0])])


def _example_row(rank: int, match: results.Match, names: Sequence[str]) -> Image.Image:
    """Return a match beside its examples, which go on below where there are many."""
    lines = [f"{rank}.  {match.score:.4f}", *filter(None, [match.label]), match.name]
    panels = [_example_panel(match.match_map, lines)]
    for name, share, one in zip(names, match.shares, match.example_maps, strict=True):
        panels.append(_example_panel(one, [f"{share:+.4f}", name]))
    return stacked([side_by_side(panels[start : start + COLUMNS]) for start in range(0, len(panels), COLUMNS)])


def _example_panel(one: results.SimilarityMap | None, lines: Sequence[str]) -> Image.Image:
    shown = _map_tile(one, SMALL) if one else tile(text_panel(["an embedding has no map"], SMALL[0] - 20), SMALL)
    return stacked([shown, text_panel(lines, SMALL[0])])


def _outlined(query: Image.Image, result: results.SearchResult, regions: Sequence[Region]) -> Image.Image:
    """Return the query as it is, with its regions."""
    picture = fitted(query, SMALL)
    first = next((match.query_map for match in result if match.query_map), None)
    if first:
        draw_regions(picture, first, regions)
    return tile(picture, SMALL)


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


def _of_label(letter: str, label: str, one: results.RankedScore) -> str:
    return f"{letter}: label {label!r}, mean score {one.score:.4f} over {one.image_count} images"


def _score_line(explanation: results.MatchExplanation, by_region: bool) -> str:
    whole = f" of the {explanation.image_score:.4f} of the whole images" if by_region else ""
    return f"score {explanation.score:.4f}{whole}"


def _order(result: results.SearchResult, originals: bool) -> str:
    """Say what the pictures of a match are, from the top."""
    sides = ["where in the query"] if any(match.query_map for match in result) else []
    return "from above: " + ", ".join([*sides, "where in the match", *(["the match itself"] if originals else [])])


def _key(regions: Sequence[Region]) -> list[str]:
    """Say what the lines over the pictures mean."""
    lines = ["white frame: the best box of a map (--box-share)"]
    if any(isinstance(region.shape, Point) for region in regions):
        lines.append("cross: a point")
    others = [region for region in regions if not isinstance(region.shape, Point)]
    if any(region.weight > 0 for region in others):
        lines.append("green: a region that counts")
    if any(region.weight < 0 for region in others):
        lines.append("blue: a region that counts against")
    if any(region.weight == 0 for region in others):
        lines.append("gray: a region that is left out")
    return lines


def _beyond(scale: results.ColorScale | None, maps: Mapping[str, results.SimilarityMap]) -> list[str]:
    """Name the maps with values beyond the scale."""
    if not scale:
        return []
    largest = {side: float(np.abs(one.values).max()) for side, one in maps.items()}
    above = {side: value for side, value in largest.items() if value > scale.high * (1 + 1e-5)}
    return [f"{side} map: up to {value:.4g}, beyond the scale, in its last color" for side, value in above.items()]


def _maps_of(result: results.SearchResult) -> dict[str, results.SimilarityMap]:
    """Return the maps with the largest values, of the query and of the matches."""
    return _largest(
        {"query": [match.query_map for match in result], "match": [match.match_map for match in result]},
    )


def _largest(maps: Mapping[str, Sequence[results.SimilarityMap | None]]) -> dict[str, results.SimilarityMap]:
    """Return of each side the map with the largest values."""
    sides = {side: [one for one in some if one] for side, some in maps.items()}
    return {side: max(maps, key=lambda one: float(np.abs(one.values).max())) for side, maps in sides.items() if maps}


def _is_point(regions: Sequence[Region]) -> bool:
    return bool(regions) and all(isinstance(region.shape, Point) for region in regions)
