"""The audit of a network's units as a folder of HTML pages; a stopped run continues where it was.

DIR/index.html leads to a page for each layer, and that to a page for each unit. The answers are kept beside the pages
as JSON: pages are made of them, and only missing ones are asked for.
"""

import io
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from whymatch.client.apps import documents
from whymatch.client.apps.audit.pages import index_page, layer_page, unit_page
from whymatch.client.apps.layer_choice import spread
from whymatch.client.apps.unit_cards import fetch_cards
from whymatch.client.client import Client
from whymatch.client.draw.saving import save_png
from whymatch.client.draw.unit_plots import axis_plot, selectivity_plot
from whymatch.client.draw.unit_words import UnitCard, stem
from whymatch.client.draw.units import card_picture, field_picture, picture_sheet
from whymatch.client.errors import InvalidArgument
from whymatch.client.results import Progress

LAYERS = 5
"""How many layers to cover by default."""
SHOWN_FILTERS = 96
"""Filters on the sheet of a layer."""
Document = dict[str, Any]
Call = Callable[[str], Callable[[Progress], None]]
"""Begins a progress bar of that name, and returns the `progress` of a call."""


class ReportMismatch(Exception):
    """The folder holds a report of another model, gallery or setting."""


@dataclass(frozen=True)
class ReportSetting:
    """How much of each layer to cover."""

    units: int | None = None
    """How many units get a page, evenly over the layer; None for all."""
    fields: int = 3
    """How many of these units to find the receptive field of."""
    field_images: int = 5
    """K, how many of their top images to occlude."""
    labels_of: int | None = None
    """How many top images to count labels over; None lets the server choose."""


def choose_layers(client: Client, named: Sequence[str]) -> list[str]:
    """Return the named layers, or about five of the network."""
    return list(named) or spread(client.model(), LAYERS)


def write_report(client: Client, folder: Path, layers: Sequence[str], setting: ReportSetting, call: Call) -> Path:
    """Write the report, and return its first page.

    Raises:
        ReportMismatch: the folder has a report of another model, gallery or setting.
        WhymatchError: a layer cannot be described; nothing was written of any.
    """
    for layer in layers:
        next(client.units.describe(layer, [0], top_count=1, label_image_count=1, progress=call(layer)))
    folder.mkdir(parents=True, exist_ok=True)
    subject = _subject(client, setting)
    _require_same(folder / "report.json", subject)
    found = [_layer(client, layer, folder / stem(layer), setting, call) for layer in layers]
    curves = [
        (one["layer"], [(point["threshold"], point["share"]) for point in one["colors"]["curve"]]) for one in found
    ]
    if any(curve for _, curve in curves):
        save_png(selectivity_plot(curves), folder / "selectivity.png", None)
    page = folder / "index.html"
    _write(page, index_page(subject, found))
    return page


def _subject(client: Client, setting: ReportSetting) -> Document:
    """Return the subject of the report."""
    model, gallery = client.model(), client.get_gallery(client.gallery)
    return {
        "model": model.fingerprint,
        "network": model.backbone,
        "gallery": gallery.name,
        "image_count": gallery.image_count,
        "generation": gallery.generation,
        **asdict(setting),
    }


def _require_same(file: Path, subject: Document) -> None:
    kept = _kept(file, lambda: subject)
    other = [key for key, value in subject.items() if kept.get(key) != value]
    if other:
        raise ReportMismatch(
            f"{file.parent} holds a report with other values of {', '.join(other)}; choose another folder, or remove it"
        )


def _layer(client: Client, layer: str, folder: Path, setting: ReportSetting, call: Call) -> Document:
    """Fetch the missing answers on a layer, and write its pages; return the layer for the first page."""
    folder.mkdir(exist_ok=True)
    axes = _kept(folder / "axes.json", lambda: _axes(client, layer, folder, call))
    selectivity = _kept(folder / "selectivity.json", lambda: _selectivity(client, layer, call))
    chosen = _chosen(len(selectivity["units"]), setting.units)
    missing = [channel for channel in chosen if _read(_file(folder, channel)) is None]
    if missing:
        for card in fetch_cards(client, layer, missing, label_image_count=setting.labels_of, progress=call(layer)):
            _write_card(card, folder)
    units = [_read(_file(folder, channel)) or {} for channel in chosen]
    fields = _fields(client, layer, units, folder, setting, call)
    for unit in units:
        _write(folder / f"{unit['unit']:04}.html", unit_page(unit, fields.get(unit["unit"])))
    has_filters = _write_filters(chosen, folder)
    colors = {**selectivity, "axes": axes["axes"], "no_axes": axes["no_axes"]}
    document: Document = {"layer": layer, "folder": folder.name, "colors": colors, "units": units, "fields": fields}
    _write(folder / "index.html", layer_page(document, has_filters=has_filters))
    return document


def _axes(client: Client, layer: str, folder: Path, call: Call) -> Document:
    """Find the color axes of a layer, or the reason why its filters cannot be decoded."""
    try:
        found = client.units.layer_colors(layer, with_selectivity=False, progress=call(f"{layer}, color axes"))
    except InvalidArgument as error:
        if error.reason != "BAD_LAYER":
            raise
        return {"axes": [], "no_axes": str(error)}
    save_png(axis_plot(found), folder / "axes.png", found.provenance)
    return documents.layer_colors(found) | documents.origin(found.provenance)


def _selectivity(client: Client, layer: str, call: Call) -> Document:
    """Measure the selectivity of the units of a layer."""
    found = client.units.layer_colors(layer, with_axes=False, progress=call(f"{layer}, selectivity"))
    return documents.layer_colors(found) | documents.origin(found.provenance)


def _fields(
    client: Client, layer: str, units: Sequence[Document], folder: Path, setting: ReportSetting, call: Call
) -> dict[int, Document]:
    """Find the receptive fields of some units that are not dead, by channel."""
    alive = [unit["unit"] for unit in units if not unit["dead"]]
    found: dict[int, Document] = {}
    for place in _chosen(len(alive), setting.fields) if setting.fields else []:
        channel = alive[place]

        def find(channel: int = channel) -> Document:
            images = min(setting.field_images, units[0]["image_count"])
            field = client.units.receptive_field(
                layer, channel, image_count=images, progress=call(f"{layer}/{channel}, receptive field")
            )
            save_png(field_picture(field), folder / f"{channel:04}-field.png", field.provenance)
            return documents.field(field) | documents.origin(field.provenance)

        found[channel] = _kept(folder / f"{channel:04}-field.json", find)
    return found


def _write_card(card: UnitCard, folder: Path) -> None:
    """Write the files of a unit; its JSON last, which marks the others as complete."""
    channel = card.unit.channel
    save_png(card_picture(card), folder / f"{channel:04}.png", card.unit.provenance)
    if card.filter:
        save_png(card.filter.picture_png, folder / f"{channel:04}-filter.png", card.filter.provenance)
    _write(_file(folder, channel), json.dumps(documents.card(card) | documents.origin(card.unit.provenance)))


def _write_filters(channels: Sequence[int], folder: Path) -> bool:
    """Write a sheet of the filters of units, evenly spread; return whether there are any."""
    shown = [channels[place] for place in _chosen(len(channels), SHOWN_FILTERS)]
    files = [(str(channel), folder / f"{channel:04}-filter.png") for channel in shown]
    pictures = [(name, Image.open(io.BytesIO(file.read_bytes()))) for name, file in files if file.exists()]
    if pictures:
        save_png(picture_sheet(pictures), folder / "filters.png", None)
    return bool(pictures)


def _chosen(count: int, wanted: int | None) -> list[int]:
    """Return `wanted` places of `count`, evenly spread; all of them if `wanted` is None."""
    if wanted is None or wanted >= count:
        return list(range(count))
    return [int(place) for place in np.linspace(0, count - 1, wanted).round()]


def _file(folder: Path, channel: int) -> Path:
    return folder / f"{channel:04}.json"


def _kept(file: Path, make: Callable[[], Document]) -> Document:
    """Return the document in a file; make it if it is missing or broken."""
    document = _read(file)
    if document is None:
        document = make()
        _write(file, json.dumps(document))
    return document


def _read(file: Path) -> Document | None:
    with suppress(OSError, ValueError):
        document = json.loads(file.read_text(encoding="utf-8"))
        return document if isinstance(document, dict) else None
    return None


def _write(file: Path, text: str) -> None:
    """Write a file whole or not at all."""
    part = file.with_name(f".{file.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)
