"""The audit of a network's units as a folder of HTML pages; a run that was stopped goes on where it was.

DIR/index.html leads to a page for each layer, and that to a page for each unit. What was found is kept beside the pages
as JSON: pages are made of it, and what is there is not asked for again.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from whymatch.client import unit_documents
from whymatch.client.client import Client
from whymatch.client.errors import InvalidArgument
from whymatch.client.layer_choice import spread
from whymatch.client.unit_cards import UnitCard, fetch_cards, stem
from whymatch.client.unit_pages import index_page, layer_page, unit_page
from whymatch.client.unit_pictures import card_picture, field_picture, filter_sheet
from whymatch.client.unit_plots import axis_plot, selectivity_plot
from whymatch.client.unit_results import UnitProgress

LAYERS = 5
"""How many layers to look at, unless they are named."""
Document = dict[str, Any]
Tell = Callable[[str], Callable[[UnitProgress], None]]
"""Begins to show how far something is; gets its name, and returns what to tell."""


class ReportMismatch(Exception):
    """The folder holds a report of something else."""


@dataclass(frozen=True)
class ReportSetting:
    """What to look at."""

    layers: tuple[str, ...]
    units: int | None = None
    """How many units of each layer get a page, evenly over the layer; None for all."""
    fields: int = 3
    """How many of them get their receptive field found."""
    field_images: int = 5
    """K, of how many top images."""
    labels_of: int | None = None
    """Over how many top images labels are counted; None lets the server choose."""


def choose_layers(client: Client, named: Sequence[str]) -> tuple[str, ...]:
    """Return the layers that were named, or about five of the network."""
    return tuple(named) or tuple(spread(client.model().layers, LAYERS))


def write_report(client: Client, folder: Path, setting: ReportSetting, tell: Tell) -> Path:
    """Write the report, and return its first page.

    Raises:
        ReportMismatch: the folder has a report of another model, gallery or setting.
    """
    folder.mkdir(parents=True, exist_ok=True)
    subject = _subject(client, setting)
    _require_same(folder / "report.json", subject)
    layers = [_layer(client, layer, folder / stem(layer), setting, tell) for layer in setting.layers]
    curves = [(str(layer["layer"]), _curve(layer["colors"])) for layer in layers]
    if any(curve for _, curve in curves):
        selectivity_plot(curves).save(folder / "selectivity.png")
    page = folder / "index.html"
    _write(page, index_page(subject, layers))
    return page


def _subject(client: Client, setting: ReportSetting) -> Document:
    """Return what the report is of."""
    model, gallery = client.model(), client.get_gallery(client.gallery)
    return {
        "model": model.fingerprint,
        "network": model.backbone,
        "gallery": gallery.name,
        "image_count": gallery.image_count,
        **asdict(setting),
        "layers": list(setting.layers),
    }


def _require_same(file: Path, subject: Document) -> None:
    if not file.exists():
        _write(file, json.dumps(subject, indent=1))
        return
    kept = _read(file)
    if kept != subject:
        other = ", ".join(key for key in subject if kept.get(key) != subject[key])
        raise ReportMismatch(f"{file.parent} holds a report with another {other}; choose another folder, or remove it")


def _layer(client: Client, layer: str, folder: Path, setting: ReportSetting, tell: Tell) -> Document:
    """Bring what is known of a layer up to date, and write its pages; return what the first page says of it."""
    folder.mkdir(exist_ok=True)
    colors = _kept(folder / "colors.json", lambda: _colors(client, layer, folder, tell))
    chosen = _chosen(len(colors["units"]), setting.units)
    missing = [channel for channel in chosen if not _file(folder, channel).exists()]
    if missing:
        for card in fetch_cards(client, layer, missing, label_image_count=setting.labels_of, progress=tell(layer)):
            _write_card(card, folder)
    units = [_read(_file(folder, channel)) for channel in chosen]
    fields = _fields(client, layer, units, folder, setting, tell)
    for unit in units:
        _write(folder / f"{unit['unit']:04}.html", unit_page(unit, fields.get(unit["unit"])))
    document: Document = {"layer": layer, "folder": folder.name, "colors": colors, "units": units, "fields": fields}
    _write(folder / "index.html", layer_page(document, has_filters=(folder / "filters.png").exists()))
    return document


def _colors(client: Client, layer: str, folder: Path, tell: Tell) -> Document:
    """Look at the colors of a layer; where its filters cannot be decoded, at the selectivity of its units alone."""
    try:
        found = client.units.layer_colors(layer, progress=tell(f"{layer}, colors"))
        filter_sheet(list(client.units.filters(layer))).save(folder / "filters.png")
        axis_plot(found).save(folder / "axes.png")
    except InvalidArgument as error:
        if error.reason != "BAD_LAYER":
            raise
        found = client.units.layer_colors(layer, with_axes=False, progress=tell(f"{layer}, colors"))
        return unit_documents.layer_colors(found) | {"no_axes": str(error)}
    return unit_documents.layer_colors(found)


def _fields(
    client: Client, layer: str, units: Sequence[Document], folder: Path, setting: ReportSetting, tell: Tell
) -> dict[int, Document]:
    """Find the receptive fields of some units that are not dead, by channel."""
    alive = [unit["unit"] for unit in units if not unit["dead"]]
    found: dict[int, Document] = {}
    for place in _chosen(len(alive), setting.fields) if setting.fields else []:
        channel = alive[place]

        def find(channel: int = channel) -> Document:
            images = min(setting.field_images, units[0]["image_count"])
            field = client.units.receptive_field(
                layer, channel, image_count=images, progress=tell(f"{layer}/{channel}, receptive field")
            )
            field_picture(field).save(folder / f"{channel:04}-field.png")
            return unit_documents.field(field)

        found[channel] = _kept(folder / f"{channel:04}-field.json", find)
    return found


def _write_card(card: UnitCard, folder: Path) -> None:
    """Write what is known of a unit; its JSON last, which says that all is there."""
    channel = card.unit.channel
    card_picture(card).save(folder / f"{channel:04}.png")
    _write(_file(folder, channel), json.dumps(unit_documents.card(card)))


def _chosen(count: int, wanted: int | None) -> list[int]:
    """Return `wanted` places of `count`, evenly spread; all of them where None is wanted."""
    if wanted is None or wanted >= count:
        return list(range(count))
    return [int(place) for place in np.linspace(0, count - 1, wanted).round()]


def _curve(colors: Mapping[str, Any]) -> list[tuple[float, float]]:
    return [(point["threshold"], point["share"]) for point in colors["curve"]]


def _file(folder: Path, channel: int) -> Path:
    return folder / f"{channel:04}.json"


def _kept(file: Path, make: Callable[[], Document]) -> Document:
    """Return what a file holds; make it first if it is not there, or broken."""
    with suppress(OSError, ValueError):
        return _read(file)
    document = make()
    _write(file, json.dumps(document))
    return document


def _read(file: Path) -> Document:
    document: Document = json.loads(file.read_text(encoding="utf-8"))
    return document


def _write(file: Path, text: str) -> None:
    """Write a file that is there whole, or not at all."""
    part = file.with_name(f".{file.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)
