"""Values of the client as the documents of the command line hold them: arrays of two axes with their shape."""

from functools import partial
from typing import Any

import numpy as np

from whymatch.client import value
from whymatch.client.value import Document

__all__ = ["Document", "plain", "record"]


def _array(array: np.ndarray) -> Any:
    """Return values[row][column] with the numbers of both, and any other array as lists."""
    if array.ndim != 2:
        return array.tolist()
    rows, columns = array.shape
    return {"rows": rows, "columns": columns, "values": array.tolist()}


plain = partial(value.plain, array=_array)
record = partial(value.record, array=_array)
