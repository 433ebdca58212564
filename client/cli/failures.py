"""How a failed call reads on the command line: in its own words, and as an exit code that tells what to do."""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

FAILED, NOT_FOUND, BUSY, REFUSED = 1, 3, 4, 5
EXIT_CODES = (
    "Exit codes: 0 done; 1 failed, or some of the images did; 2 misuse of the command line; 3 not found; 4 busy, "
    "absent or too late, so that trying again may help; 5 refused, as it will be again; 130 interrupted."
)

OPTIONS = {
    "at_generation": "--at-generation",
    "authorization: Bearer TOKEN": "--token TOKEN or WHYMATCH_TOKEN",
    "box_share": "--box-share",
    "candidate_limit": "--candidates",
    "candidates": "--candidate",
    "channel_limit": "--channels",
    "correspondence_limit": "--correspondences",
    "descriptor": "--descriptor",
    "exclude": "--exclude",
    "filter": "--filter",
    "labels": "--label",
    "limit": "--limit",
    "match_limit": "--limit",
    "min_score": "--min-score",
    "match_regions": "--match-region",
    "overlays": "--maps",
    "pair_count": "--pairs",
    "query_regions": "--query-region",
    "regions": "--region",
    "relative": "%",
    "sample_count": "--samples",
    "seed": "--seed",
    "segment_count": "--segments",
    "settings": "combinations of --layer, --supervision and --norm",
    "size_px": "--size-px",
    "targets": "--target",
    "timeout_s": "--timeout",
    "training_image_count": "--training-images",
}
"""What is typed here for the words that messages have in backticks: fields of the API, arguments of the client."""

ABOUT_AN_IMAGE = ("NOT_AN_IMAGE", "BROKEN_IMAGE", "IMAGE_TOO_LARGE", "TOO_MANY_PIXELS")
"""Reasons whose messages are about the bytes of one image, whose file the server does not know."""


IMAGES = ("file", "query", "match", "image", "images", "masks")
"""Parameters of commands that may name files of images."""


def image_files(arguments: Mapping[str, Any]) -> list[str]:
    """Return the image files that the arguments of a command name, as they were typed."""
    given = [arguments[name] for name in IMAGES if arguments.get(name) is not None]
    words = [str(word) for value in given for word in (value if isinstance(value, list) else [value])]
    return [word for word in words if Path(word).is_file() or Path(word.rpartition(":")[0]).is_file()]


def exit_code(error: Exception) -> int:
    """Return what kind of failure this is, to scripts."""
    from whymatch.client import errors

    kinds: dict[int, tuple[type[Exception], ...]] = {
        NOT_FOUND: (errors.NotFound,),
        REFUSED: (
            errors.MessageTooLarge,
            errors.InvalidArgument,
            errors.AlreadyExists,
            errors.FailedPrecondition,
            errors.PermissionDenied,
            errors.Unauthenticated,
        ),
        BUSY: (errors.Unavailable, errors.ResourceExhausted, errors.DeadlineExceeded),
    }
    return next((code for code, classes in kinds.items() if isinstance(error, classes)), FAILED)


def sentence(error: Exception, files: Sequence[str]) -> str:
    """Return what to print. `files` are the image files that the command line names."""
    text = re.sub("`([^`]+)`", lambda word: OPTIONS.get(word[1], word[0]), str(error))
    about = files if getattr(error, "reason", "") in ABOUT_AN_IMAGE else ()
    return f"whymatch: {' or '.join(about)}{': ' if about else ''}{text}"


def fail(error: Exception, files: Sequence[str] = ()) -> typer.Exit:
    """Say on stderr why a command failed, and return the exit to raise."""
    print(sentence(error, files), file=sys.stderr)
    return typer.Exit(exit_code(error))
