"""What all results can do: show themselves on a line, arrays by their shapes, and become plain JSON values."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from whymatch.client.errors import WhymatchError

Document: TypeAlias = dict[str, Any]
FromArray: TypeAlias = Callable[[np.ndarray], Any]
SHOWN = 3
"""How many entries of a long field a `repr` shows."""


class Value:
    """A frozen dataclass that a client returns."""

    def __init_subclass__(cls) -> None:
        if "__repr__" not in vars(cls):
            cls.__repr__ = Value.__repr__  # type: ignore[method-assign]  # `dataclass` would write one of its own

    def __repr__(self) -> str:
        shown = (field.name for field in dataclasses.fields(self) if field.repr)  # type: ignore[arg-type]
        return f"{type(self).__name__}({', '.join(f'{name}={_brief(getattr(self, name))}' for name in shown)})"

    def to_dict(self) -> Document:
        """Return all fields as JSON can hold them: arrays as lists, times as ISO 8601; files of pictures are left out.

        Infinity, which JSON lacks, is the text `inf`.
        """
        return record(self)


def record(value: object, *names: str, array: FromArray = np.ndarray.tolist) -> Document:
    """Return a dataclass as an object: its fields but pictures, or fields and properties of these names, in order."""
    names = names or tuple(field.name for field in dataclasses.fields(value))  # type: ignore[arg-type]
    found = {name: getattr(value, name) for name in names}
    return {name: plain(one, array) for name, one in found.items() if not isinstance(one, bytes)}


def plain(value: object, array: FromArray = np.ndarray.tolist) -> Any:
    """Return a value as JSON can hold it: dataclasses and mappings as objects, arrays as `array` returns them."""
    if dataclasses.is_dataclass(value):
        return record(value, array=array)
    if isinstance(value, Mapping):
        return {key: plain(one, array) for key, one in value.items()}
    if isinstance(value, np.ndarray):
        return array(value)
    if isinstance(value, (list, tuple)):
        return [plain(one, array) for one in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, WhymatchError):
        return {"code": value.code, "reason": value.reason, "message": str(value)}
    return "inf" if value == math.inf else value


def _brief(value: object) -> str:
    """Return a short `repr`: of an array its shape and sum, of what is long its beginning and its length."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, np.ndarray):
        return f"array(shape={value.shape}, sum={value.sum():.4g})"
    if isinstance(value, Mapping) and len(value) > SHOWN:
        return f"<{len(value)} entries>"
    if isinstance(value, (list, tuple)) and len(value) > SHOWN:
        return f"[{', '.join(map(_brief, value[:SHOWN]))}, ... {len(value)} in all]"
    return repr(value)
