"""What commands say beside their data, on stderr: notes and progress, which `--quiet` silences. Errors stay."""

import sys
from contextvars import ContextVar

QUIET = ContextVar("quiet", default=False)
"""Whether notes and progress bars are left out."""


def note(text: object) -> None:
    """Print a line on stderr, unless notes are left out."""
    if not QUIET.get():
        print(text, file=sys.stderr)
