"""Labels and metadata of files from a table: CSV, tab-separated values, or a JSON object on each line."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from whymatch.client.adding import FoundImage, place
from whymatch.client.apps.metadata import metadata_value
from whymatch.client.inputs import MetadataValue

Key = TypeVar("Key")
Cells = Mapping[str, MetadataValue]

DELIMITERS = {".csv": ",", ".tsv": "\t"}
JSON_LINES = (".jsonl", ".ndjson")
KEYS = ("path", "name")
TEXTS = (*KEYS, "label")
"""Columns that are text, whatever they look like; the others are metadata."""


class BadTable(ValueError):
    """A table cannot be read; the message names the line."""


@dataclass(frozen=True)
class Row:
    """What one line says of one file."""

    line: int
    """From 1, in the file."""
    key: str
    """What the line names the file by: its path, or its name in the gallery."""
    label: str
    metadata: Cells


@dataclass(frozen=True)
class Labeled:
    """Images with what a table says of them, and what did not fit together."""

    images: list[FoundImage]
    rows_without_file: list[Row]
    files_without_row: list[Path]

    def lines(self, table: Path) -> list[str]:
        """Return a line for each kind of what did not fit."""
        lines = []
        if rows := self.rows_without_file:
            lines.append(f"{table}: {len(rows)} rows name no file that is added; line {rows[0].line}: {rows[0].key}")
        if files := self.files_without_row:
            lines.append(f"{table}: {len(files)} files have no row: {', '.join(map(str, files[:3]))}")
        return lines


class LabelTable:
    """The rows of a table, by the files that they name."""

    def __init__(self, file: Path) -> None:
        """Read `file`. Each row has a `path`, from the table's folder or from here, or a `name` in the gallery.

        Its `label` may be empty or missing; all other columns are metadata, without empty cells, read as
        `metadata_value` does, but what JSON gives has its own type. Raises BadTable.
        """
        self._by_name: dict[str, Row] = {}
        self._by_path: dict[Path, Row] = {}
        for line, cells in _lines(file):
            row = _row(file, line, cells)
            if "path" in cells:
                for folder in {file.absolute().parent, Path.cwd()}:
                    self._put(file, self._by_path, place(folder / row.key), row)
            else:
                self._put(file, self._by_name, row.key, row)

    def label(self, images: Sequence[FoundImage]) -> Labeled:
        """Give images their labels and metadata; those without a row, or without a label in it, keep their own."""
        labeled, used, without = [], set(), []
        for image in images:
            row = self._by_path.get(place(image.path)) or self._by_name.get(image.name)
            if row is None:
                without.append(image.path)
                labeled.append(image)
                continue
            used.add(row.line)
            metadata = {**image.metadata, **row.metadata}
            labeled.append(replace(image, label=row.label or image.label, metadata=metadata))
        rows = {row.line: row for row in (*self._by_path.values(), *self._by_name.values())}
        return Labeled(labeled, [row for line, row in rows.items() if line not in used], without)

    @staticmethod
    def _put(file: Path, rows: dict[Key, Row], key: Key, row: Row) -> None:
        if key in rows:
            raise BadTable(f"{file}, lines {rows[key].line} and {row.line} are both about {row.key!r}; keep one")
        rows[key] = row


def _row(file: Path, line: int, cells: Cells) -> Row:
    keys = [key for key in KEYS if key in cells]
    if len(keys) != 1:
        raise BadTable(f"{file}, line {line}: give `path` or `name`, one of them, to say which file this is about")
    metadata = {key: value for key, value in cells.items() if key not in TEXTS}
    return Row(line, str(cells[keys[0]]), str(cells.get("label", "")), metadata)


def _lines(file: Path) -> Iterator[tuple[int, Cells]]:
    """Yield the number of each line and its cells that are not empty."""
    kind = file.suffix.lower()
    if kind not in (*DELIMITERS, *JSON_LINES):
        raise BadTable(f"{str(file)!r} is no table; its name must end in {', '.join((*DELIMITERS, *JSON_LINES))}")
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            read = _json_lines(file, lines) if kind in JSON_LINES else _csv_lines(file, lines, DELIMITERS[kind])
            for number, cells in read:
                yield number, {key: value for key, value in cells.items() if value != ""}
    except UnicodeDecodeError:
        raise BadTable(f"{str(file)!r} is not UTF-8; save it as UTF-8") from None


def _csv_lines(file: Path, lines: Iterator[str], delimiter: str) -> Iterator[tuple[int, Cells]]:
    reader = csv.DictReader(lines, delimiter=delimiter, strict=True)
    try:
        names = reader.fieldnames or []
        if not {*KEYS} & {*names} or len({*names}) < len(names):
            raise BadTable(
                f"{file}, line 1: the columns are {', '.join(names) or 'missing'}; name one `path` or `name`, "
                "and each only once"
            )
        for row in reader:
            if None in row or None in row.values():
                raise BadTable(
                    f"{file}, line {reader.line_num}: it has not {len(names)} cells, as line 1; quote commas"
                )
            yield reader.line_num, {key: _typed(key, value) for key, value in row.items()}
    except csv.Error as error:
        raise BadTable(f"{file}, line {reader.reader.line_num}: {error}") from None


def _json_lines(file: Path, lines: Iterator[str]) -> Iterator[tuple[int, Cells]]:
    for number, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        try:
            cells = json.loads(text)
        except ValueError as error:
            raise BadTable(f"{file}, line {number}: {error}") from None
        if not isinstance(cells, dict):
            raise BadTable(f'{file}, line {number}: it is no JSON object; write {{"path": ..., "label": ...}}')
        yield number, {key: _checked(file, number, key, value) for key, value in cells.items()}


def _typed(key: str, text: str) -> MetadataValue:
    """Return what a cell of text means; names and labels are text in any case."""
    return text if key in TEXTS else metadata_value(text)


def _checked(file: Path, line: int, key: str, value: object) -> MetadataValue:
    """Return a value of JSON, where null is empty; names and labels as JSON writes them."""
    if isinstance(value, dict | list):
        raise BadTable(f"{file}, line {line}: {key!r} holds a list or an object; give text, a number or a boolean")
    if value is None:
        return ""
    assert isinstance(value, str | int | float)
    return value if key not in TEXTS or isinstance(value, str) else json.dumps(value)
