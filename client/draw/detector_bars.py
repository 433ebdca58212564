"""How many units detect each label, network beside network, as bars."""

from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw

from whymatch.client.draw.tiles import LINE_PX, font, framed, stacked, text_panel

COLORS = ("#1f5fa8", "#d9822b", "#3a8f4d", "#b03a48", "#7b5ea7", "#8a6d3b")
BAR_PX, ROW_GAP_PX, BARS_PX, MOST_NAME_PX = 14, 8, 520, 260
MOST_LABELS = 60


def detector_bars(networks: Sequence[tuple[str, Mapping[str, int]]]) -> Image.Image:
    """Return a bar for each label and network, as long as the number of its units that detect the label.

    networks: words for each, and the number of its units by label. The labels of most units, of all networks, come
    first; of more than 60 the rest is only counted.
    """
    labels = _ordered([units for _, units in networks])
    shown = labels[:MOST_LABELS]
    rest = [f"and {len(labels) - len(shown)} labels of fewer units"] if len(labels) > len(shown) else []
    bars = _bars(shown, [units for _, units in networks]) if shown else text_panel(["no unit detects a label"], BARS_PX)
    key = _key([words for words, _ in networks])
    return framed(stacked([key, bars, *([text_panel(rest, BARS_PX)] if rest else [])]))


def _ordered(networks: Sequence[Mapping[str, int]]) -> list[str]:
    labels = dict.fromkeys(label for units in networks for label in units)
    return sorted(labels, key=lambda label: (-sum(units.get(label, 0) for units in networks), label))


def _key(words: Sequence[str]) -> Image.Image:
    width = 40 + max(round(font().getlength(one)) for one in words)
    panel = Image.new("RGB", (width, LINE_PX * len(words)), "white")
    draw = ImageDraw.Draw(panel)
    for row, one in enumerate(words):
        top = row * LINE_PX
        draw.rectangle((0, top + 6, 22, top + 19), fill=_color(row))
        draw.text((32, top + 2), one, fill="black", font=font())
    return panel


def _bars(labels: Sequence[str], networks: Sequence[Mapping[str, int]]) -> Image.Image:
    name_px = min(MOST_NAME_PX, max(round(font().getlength(label)) for label in labels)) + 12
    row_px = BAR_PX * len(networks) + ROW_GAP_PX
    panel = Image.new("RGB", (name_px + BARS_PX + 60, row_px * len(labels)), "white")
    draw = ImageDraw.Draw(panel)
    longest = max(units.get(label, 0) for label in labels for units in networks)
    for row, label in enumerate(labels):
        middle = row * row_px + BAR_PX * len(networks) / 2
        draw.text((name_px - 10, middle), fitting(label, name_px - 12), fill="black", font=font(), anchor="rm")
        for place, units in enumerate(networks):
            top, count = row * row_px + BAR_PX * place, units.get(label, 0)
            end = name_px + BARS_PX * count / longest
            draw.rectangle((name_px, top + 1, end, top + BAR_PX - 2), fill=_color(place))
            draw.text((end + 6, top + BAR_PX / 2), str(count), fill="black", font=font(12), anchor="lm")
    return panel


def fitting(words: str, width_px: int) -> str:
    """Return words that fit a width, their middle left out if need be."""
    if font().getlength(words) <= width_px:
        return words
    kept = len(words)
    while kept > 2 and font().getlength(words[: kept // 2] + "..." + words[-(kept // 2) :]) > width_px:
        kept -= 1
    return words[: kept // 2] + "..." + words[-(kept // 2) :]


def _color(place: int) -> str:
    return COLORS[place % len(COLORS)]
