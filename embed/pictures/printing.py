"""File names of any bytes on terminals of any encoding; each `main` calls this first."""

import io
import sys


def escape_unprintable() -> None:
    """Print what the terminal's encoding lacks, in names for example, as an escape."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
