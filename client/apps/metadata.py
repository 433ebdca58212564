"""Metadata as it is typed: a word that reads as a number or a boolean is one, all else is text."""

import json
import math

from whymatch.client.inputs import MAX_WHOLE_NUMBER, MetadataValue


def metadata_value(text: str) -> MetadataValue:
    """Return what a word means: `2024` a number, `true` a boolean, `"2024"` in quotes the text 2024, all else itself.

    It is a number if JSON has it as one and a float64 holds it: `007`, `.5` and digits beyond 2^53 stay text.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if isinstance(value, str | bool):
        return value
    is_number = isinstance(value, int | float) and math.isfinite(value)
    return value if is_number and abs(value) <= MAX_WHOLE_NUMBER else text
