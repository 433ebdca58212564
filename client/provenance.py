"""Where the documents and the pictures of a command come from: the server's word on its answer, and what was asked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from whymatch.client.results import Provenance
from whymatch.client.version import __version__

_asked: ContextVar[Mapping[str, Any] | None] = ContextVar("asked", default=None)
"""By the command that is running here."""


def note_request(command: str, request: Mapping[str, Any]) -> None:
    """Note what is asked from now on, for all that is written: the command and the options that it was given."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    _asked.set({"time": now, "command": command, "request": dict(request)})


def provenance(answer: Provenance | None) -> dict[str, Any]:
    """Return where an answer comes from as a JSON object: what the server says, then what this client knows."""
    facts = asdict(answer) if answer else {}
    if created := facts.get("gallery_create_time"):
        facts["gallery_create_time"] = created.isoformat()
    return {**facts, "client_version": __version__, **(_asked.get() or {})}


def provenance_json(answer: Provenance | None = None) -> str:
    """Return the same as text, of ASCII alone."""
    return json.dumps(provenance(answer))


def provenance_line(answer: Provenance, address: str) -> str:
    """Return in one line who answered: server, gallery, generation, head and model."""
    model = f"model {answer.backbone} {answer.headless_model}"
    if not answer.gallery:
        return f"{address}: {model}"
    head = f"{answer.head}, version {answer.head_version}" if answer.head_version else "none"
    index = f"index {answer.index}, {'exact' if answer.exact else 'approximate'}"
    images = f"generation {answer.generation}, {answer.image_count} images"
    return f"{address}: gallery {answer.gallery}, {images}; head {head}; {model}; {index}"
