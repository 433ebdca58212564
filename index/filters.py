"""The filter language: which images of a gallery a call is about, in the words of AIP-160."""

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, TypeAlias

import lark

from whymatch.embed import BadRequest
from whymatch.index.stored_images import Where

MAX_BYTES = 8 * 1024
MAX_DEPTH = 8
"""SQLite stops at a hundred things that wait for their ends."""
Tree: TypeAlias = Any
"""Of lark, whose trees hold trees and tokens alike."""
Value: TypeAlias = str | int | float | bool

GRAMMAR = r"""
start: expression
expression: sequence ("AND" sequence)*
sequence: term ("OR" term)*
?term: simple | ("NOT" | "-") simple -> negation
?simple: comparison | "(" expression ")"
comparison: field COMPARATOR value
field: WORD ("." (WORD | STRING))?
value: NUMBER -> number
     | STRING -> string
     | WORD -> word
     | "*" -> anything
COMPARATOR: "<=" | ">=" | "!=" | "=" | "<" | ">" | ":"
NUMBER.2: /[-+]?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?(?![\w])/
STRING: /"([^"\\]|\\["\\])*"/ | /'([^'\\]|\\['\\])*'/
WORD: /[^\W\d][\w-]*/
%ignore /\s+/
"""
"""As in AIP-160, OR binds more tightly than AND."""

COLUMNS = {
    "name": "name",
    "label": "label",
    "content_sha256": "sha256",
    "width_px": "width_px",
    "height_px": "height_px",
    "size_bytes": "size_bytes",
    "create_time": "create_time",
    "update_time": "update_time",
}
NUMBERS = ("width_px", "height_px", "size_bytes")
TIMES = ("create_time", "update_time")
OF_CONTENTS = ("content_sha256", *NUMBERS)


class BadFilter(BadRequest):
    """A filter cannot be read, or compares what cannot be compared."""

    reason = "BAD_FILTER"


@dataclass(frozen=True)
class Comparison:
    """A field and what it is compared with."""

    field: str
    """One of COLUMNS, or `metadata`."""
    key: str
    """Of the metadata."""
    comparator: str
    """`=`, `!=`, `<`, `<=`, `>`, `>=`, or `:` for text that has the value in it."""
    value: Value | None
    """None for any value at all; of times, the seconds since 1970."""

    def where(self) -> Where:
        """Return it in SQL. Metadata of another type than the value, or none, makes it false."""
        if self.field == "metadata":
            return self._of_metadata()
        column = f"images.{COLUMNS[self.field]}" if self.field in TIMES else COLUMNS[self.field]
        of_contents = self.field in OF_CONTENTS
        if self.value is None:
            return Where(f"{column} != ''", (), of_contents)
        return Where(_compared(column, self.comparator), (self.value,), of_contents)

    def _of_metadata(self) -> Where:
        condition, values = "key = ?", (self.key,)
        if self.value is None:
            return Where(f"EXISTS (SELECT * FROM json_each(metadata) WHERE {condition})", values)
        compared = _compared("value", self.comparator)
        query = f"EXISTS (SELECT * FROM json_each(metadata) WHERE {condition} AND type IN {_types(self.value)}"
        return Where(f"{query} AND {compared})", (*values, self.value))


@dataclass(frozen=True)
class Both:
    """What all of some filters hold for."""

    parts: tuple["Filter", ...]

    def where(self) -> Where:
        """Return it in SQL."""
        return _joined(" AND ", self.parts)


@dataclass(frozen=True)
class Either:
    """What at least one of some filters holds for."""

    parts: tuple["Filter", ...]

    def where(self) -> Where:
        """Return it in SQL."""
        return _joined(" OR ", self.parts)


@dataclass(frozen=True)
class Negation:
    """What a filter does not hold for."""

    filter: "Filter"

    def where(self) -> Where:
        """Return it in SQL."""
        inner = self.filter.where()
        return inner._replace(condition=f"NOT ({inner.condition})")


Filter: TypeAlias = Comparison | Both | Either | Negation


def parse_filter(text: str) -> Filter:
    """Return what a filter means, such as `label = "cat" AND metadata.year >= 2020 AND NOT metadata.draft : *`.

    Fields are those of an image: `name`, `label`, `metadata.KEY`, `width_px`, `height_px`, `size_bytes`,
    `content_sha256`, `create_time`, `update_time`. OR binds more tightly than AND.

    Raises:
        BadFilter: with the place in the text.
    """
    if len(text.encode()) > MAX_BYTES:
        raise BadFilter(f"the filter has {len(text.encode())} bytes, more than the {MAX_BYTES} that are read")
    if (depth := _depth(text)) > MAX_DEPTH:
        raise BadFilter(f"the filter nests {depth} deep, more than the {MAX_DEPTH} levels that are read")
    try:
        tree = _parser().parse(text)
    except lark.UnexpectedInput as err:
        raise BadFilter(f"the filter cannot be read {_place(text, err)}; {HINT}") from None
    return _filter(tree.children[0])


HINT = (
    'write comparisons such as `label = "cat"`, `metadata.year >= 2020` or `metadata.draft : *`, joined by AND, OR, NOT'
)


@cache
def _parser() -> lark.Lark:
    return lark.Lark(GRAMMAR, parser="lalr", propagate_positions=True)


def _place(text: str, err: lark.UnexpectedInput) -> str:
    if isinstance(err, lark.UnexpectedToken) and err.token.type == "$END":
        return "at its end"
    position = err.pos_in_stream or 0
    return f"at character {position + 1}, {text[position : position + 20]!r}"


def _depth(text: str) -> int:
    """Return how many parentheses are open at most, those within strings, too."""
    depth = deepest = 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        deepest = max(deepest, depth)
    return deepest


def _filter(tree: Tree) -> Filter:
    """Return the meaning of a tree."""
    if tree.data == "comparison":
        return _comparison(tree)
    parts = tuple(_filter(part) for part in tree.children)
    if tree.data == "negation":
        return Negation(parts[0])
    if len(parts) == 1:
        return parts[0]
    return Both(parts) if tree.data == "expression" else Either(parts)


def _comparison(tree: Tree) -> Comparison:
    named, comparator, compared = tree.children
    field, key = _field(named)
    value = _value(compared)
    shown = f"{field}.{key}" if key else field
    at = f"at character {tree.meta.start_pos + 1}"
    if value is None:
        if comparator != ":":
            raise BadFilter(f"{shown} {comparator} * {at} asks nothing; `{shown} : *` asks whether there is any")
        return Comparison(field, key, ":", None)
    if field in NUMBERS and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise BadFilter(f"{shown} {at} is a number, not {value!r}")
    if field in TIMES:
        value = _time(shown, value, at)
    elif field not in NUMBERS and field != "metadata" and not isinstance(value, str):
        raise BadFilter(f'{shown} {at} is text; compare it with "{value}" in quotes')
    if comparator == ":" and not isinstance(value, str):
        comparator = "="
    if isinstance(value, bool) and comparator not in ("=", "!="):
        raise BadFilter(f"{shown} {comparator} {str(value).lower()} {at}: true and false are only equal or not")
    return Comparison(field, key, str(comparator), value)


def _field(tree: Tree) -> tuple[str, str]:
    field, *keys = tree.children
    at = f"at character {tree.meta.start_pos + 1}"
    if field != "metadata" and (field not in COLUMNS or keys):
        known = ", ".join([*COLUMNS, "metadata.KEY"])
        raise BadFilter(f"there is no field {'.'.join([str(field), *map(str, keys)])!r} {at}; there are {known}")
    if field == "metadata" and not keys:
        raise BadFilter(f"`metadata` {at} lacks its key; write `metadata.KEY`")
    return str(field), _text(keys[0]) if keys else ""


def _value(tree: Tree) -> Value | None:
    if tree.data == "anything":
        return None
    token = tree.children[0]
    if tree.data == "number":
        number = float(token)
        if abs(number) > 2**53:
            raise BadFilter(f"the number {token} at character {token.start_pos + 1} is beyond 2^53")
        return int(number) if number.is_integer() else number
    if tree.data == "word" and token in ("true", "false"):
        return bool(token == "true")
    return _text(token)


def _text(token: Any) -> str:
    if token.type == "WORD":
        return str(token)
    quote = token[0]
    return str(token[1:-1]).replace(f"\\{quote}", quote).replace("\\\\", "\\")


def _time(shown: str, value: Value, at: str) -> float:
    try:
        time = datetime.fromisoformat(str(value))
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise BadFilter(f'{shown} {at} is a time such as "2026-01-31T12:00:00Z", not {value!r}')
    return time.timestamp()


def _compared(column: str, comparator: str) -> str:
    return f"instr({column}, ?) > 0" if comparator == ":" else f"{column} {comparator} ?"


def _types(value: Value) -> str:
    """Return the JSON types of SQLite that compare with a value."""
    if isinstance(value, bool):
        return "('true', 'false')"
    return "('text')" if isinstance(value, str) else "('integer', 'real')"


def _joined(word: str, parts: tuple[Filter, ...]) -> Where:
    wheres = [part.where() for part in parts]
    return Where(
        word.join(f"({one.condition})" for one in wheres),
        tuple(value for one in wheres for value in one.values),
        any(one.of_contents for one in wheres),
    )
