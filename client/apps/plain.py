"""Values of the client as plain JSON values."""

import dataclasses
import math
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

Document = dict[str, Any]


def plain(value: object) -> Any:
    """Return a value as JSON can hold it: dataclasses and mappings as objects, arrays of two axes with their shape."""
    if dataclasses.is_dataclass(value):
        return record(value)
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, np.ndarray):
        return _grid(value) if value.ndim == 2 else value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    return "inf" if value == math.inf else value


def record(value: object, *names: str) -> Document:
    """Return a dataclass as an object: its fields, or the fields and properties of these names, in their order."""
    names = names or tuple(field.name for field in dataclasses.fields(value))  # type: ignore[arg-type]
    return {name: plain(getattr(value, name)) for name in names}


def _grid(values: np.ndarray) -> Document:
    """Return values[row][column]."""
    rows, columns = values.shape
    return {"rows": rows, "columns": columns, "values": values.tolist()}
