"""The audit of a network's units as a folder of HTML pages; a stopped run continues where it was.

DIR/index.html leads to a page for each layer, and that to a page for each unit. The answers are kept beside the pages
as JSON: pages are made of them, and only missing ones are asked for.
"""

import io
import json
from collections.abc import Callable, Mapping, Sequence
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
from whymatch.client.apps.unit_classes import fetch_class_sheet
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
    """How many units of each layer to look at, evenly over it; None for all."""
    fields: int = 3
    """How many of these units to find the receptive field of."""
    field_images: int = 5
    """K, how many of their top images to occlude."""
    labels_of: int | None = None
    """How many top images to count labels over; None lets the server choose."""


@dataclass(frozen=True)
class Wanted:
    """What to look at of a layer."""

    layer: str
    folder: Path
    unit_count: int
    """How many units it has."""
    channels: Sequence[int]
    """The units that get a page."""

    @property
    def asked(self) -> Sequence[int]:
        """The channels as requests name them: none for all."""
        return () if len(self.channels) == self.unit_count else self.channels


def choose_layers(client: Client, named: Sequence[str]) -> list[str]:
    """Return the named layers, or about five of the network."""
    return list(named) or spread(client.model(), LAYERS)


def write_report(client: Client, folder: Path, layers: Sequence[str], setting: ReportSetting, call: Call) -> Path:
    """Write the report, and return its first page.

    Its pages are whole from the start: they link to what is there, and say what is not.

    Raises:
        ReportMismatch: the folder has a report of another model, gallery or setting.
        WhymatchError: a layer cannot be described; nothing was written of any, if it is refused at once.
    """
    wanted = [_wanted(client, layer, folder, setting, call) for layer in layers]
    folder.mkdir(parents=True, exist_ok=True)
    subject = _subject(client, setting)
    _require_same(folder / "report.json", subject)
    found = {one.layer: _write_layer(one) for one in wanted if one.folder.exists()}
    page = _write_first_page(folder, subject, wanted, found)
    for one in wanted:
        one.folder.mkdir(exist_ok=True)
        try:
            _fetch(client, one, setting, call)
        finally:
            found[one.layer] = _write_layer(one)
            _write_first_page(folder, subject, wanted, found)
    return page


def _wanted(client: Client, layer: str, folder: Path, setting: ReportSetting, call: Call) -> Wanted:
    unit = next(client.units.describe(layer, [0], top_count=1, label_image_count=1, progress=call(layer)))
    return Wanted(layer, folder / stem(layer), unit.layer_unit_count, _chosen(unit.layer_unit_count, setting.units))


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


def _fetch(client: Client, wanted: Wanted, setting: ReportSetting, call: Call) -> None:
    """Fetch the missing answers on a layer."""
    layer, folder = wanted.layer, wanted.folder
    _kept(folder / "axes.json", lambda: _axes(client, wanted, call))
    _kept(folder / "selectivity.json", lambda: _selectivity(client, wanted, call))
    missing = [channel for channel in wanted.channels if _read(_file(folder, channel)) is None]
    if missing:
        for card in fetch_cards(client, layer, missing, label_image_count=setting.labels_of, progress=call(layer)):
            _write_card(card, folder)
    units = [_read(_file(folder, channel)) or {} for channel in wanted.channels]
    _fetch_fields(client, wanted, units, setting, call)


def _axes(client: Client, wanted: Wanted, call: Call) -> Document:
    """Find classes and color axes of a layer, or the reason why its filters cannot be decoded."""
    try:
        found = client.units.layer_colors(
            wanted.layer, wanted.asked, with_selectivity=False, progress=call(f"{wanted.layer}, color axes")
        )
    except InvalidArgument as error:
        if error.reason != "BAD_LAYER":
            raise
        return {"axes": [], "no_axes": str(error)}
    save_png(axis_plot(found), wanted.folder / "axes.png", found.provenance)
    save_png(fetch_class_sheet(client, found), wanted.folder / "classes.png", found.provenance)
    return documents.layer_colors(found) | documents.origin(found.provenance)


def _selectivity(client: Client, wanted: Wanted, call: Call) -> Document:
    """Measure the selectivity of the units of a layer."""
    found = client.units.layer_colors(
        wanted.layer, wanted.asked, with_axes=False, progress=call(f"{wanted.layer}, selectivity")
    )
    return documents.layer_colors(found) | documents.origin(found.provenance)


def _fetch_fields(
    client: Client, wanted: Wanted, units: Sequence[Document], setting: ReportSetting, call: Call
) -> None:
    """Find the receptive fields of some units that are not dead."""
    alive = [unit["unit"] for unit in units if not unit["dead"]]
    for place in _chosen(len(alive), setting.fields) if setting.fields else []:
        channel = alive[place]

        def find(channel: int = channel) -> Document:
            images = min(setting.field_images, units[0]["image_count"])
            field = client.units.receptive_field(
                wanted.layer,
                channel,
                image_count=images,
                progress=call(f"{wanted.layer}/{channel}, receptive field"),
            )
            save_png(field_picture(field), wanted.folder / f"{channel:04}-field.png", field.provenance)
            return documents.field(field) | documents.origin(field.provenance)

        _kept(wanted.folder / f"{channel:04}-field.json", find)


def _write_first_page(folder: Path, subject: Document, layers: Sequence[Wanted], found: Mapping[str, Document]) -> Path:
    """Write the page that leads to the layers that were found, and names the others."""
    there = [found[one.layer] for one in layers if one.layer in found]
    curves = [
        (one["layer"], [(point["threshold"], point["share"]) for point in one["colors"]["curve"]]) for one in there
    ]
    if any(curve for _, curve in curves):
        save_png(selectivity_plot(curves), folder / "selectivity.png", None)
    page = folder / "index.html"
    _write(page, index_page(subject, there, [one.layer for one in layers if one.layer not in found]))
    return page


def _write_layer(wanted: Wanted) -> Document:
    """Write the pages of what is known of a layer, each before what links to it; return it for the first page."""
    document, has_filters = _document(wanted), _write_filters(wanted.channels, wanted.folder)
    page = wanted.folder / "index.html"
    if not page.exists():
        _write(page, layer_page({**document, "units": [], "fields": {}}, has_filters=has_filters))
    for unit in document["units"]:
        field = document["fields"].get(unit["unit"])
        _write(wanted.folder / f"{unit['unit']:04}.html", unit_page(unit, field))
    _write(page, layer_page(document, has_filters=has_filters))
    return document


def _document(wanted: Wanted) -> Document:
    """Return what is known of a layer."""
    folder = wanted.folder
    units = {channel: _read(_file(folder, channel)) for channel in wanted.channels}
    fields = {channel: _read(folder / f"{channel:04}-field.json") for channel in wanted.channels}
    selectivity, axes = _read(folder / "selectivity.json"), _read(folder / "axes.json")
    classes = {key: (axes or {}).get(key, none) for key, none in {"axes": [], "no_axes": "", "classes": {}}.items()}
    return {
        "layer": wanted.layer,
        "folder": folder.name,
        "unit_count": wanted.unit_count,
        "wanted_count": len(wanted.channels),
        "colors": {"curve": [], "dead_count": 0, **(selectivity or {}), **classes},
        "units": [unit for unit in units.values() if unit],
        "fields": {channel: field for channel, field in fields.items() if field},
        "complete": bool(selectivity and axes and all(units.values())),
    }


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
