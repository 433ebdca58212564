"""The examples of README and docs, run as their readers run them: in order, in a folder of photographs, on a server."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from sample_pictures import picture

ROOT = Path(__file__).parents[1]
README, DOCS = ROOT / "README.md", sorted((ROOT / "docs").glob("*.md"))
FENCE = re.compile(r"```(.*)")
SETTING_UP = ("pip ", "make ", "whymatch serve ")
"""How blocks begin that CI, the package test and the server of these tests stand for."""
WIDTH_PX, HEIGHT_PX = 480, 320


@dataclass(frozen=True)
class Block:
    """One example of a page."""

    language: str
    first_line: int
    """Its line of the page, from 0."""
    lines: tuple[str, ...]


def blocks_of(page: Path) -> list[Block]:
    """Return all blocks of a page, those of other languages, too."""
    blocks, lines = [], page.read_text().splitlines()
    fences = [(number, match[1]) for number, line in enumerate(lines) if (match := FENCE.fullmatch(line))]
    for (start, language), (end, closing) in zip(fences[::2], fences[1::2], strict=True):
        assert not closing, f"{page.name}:{end + 1} closes a block with a language"
        blocks.append(Block(language, start + 1, tuple(lines[start + 1 : end])))
    return blocks


def runs(page: Path) -> bool:
    """Return whether a page has blocks to run."""
    return bool(_examples(page))


def make_photos(folder: Path) -> None:
    """Make what the examples name: `photos` with two labels, and pictures and a mask to ask with."""
    for seed, name in enumerate(["cats/cat", "dogs/dog", "cats/tom", "dogs/rex"], start=1):
        file = folder / f"photos/{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        picture(seed, WIDTH_PX, HEIGHT_PX).save(file)
    for name in ("query.jpg", "photo.jpg"):
        picture(1, WIDTH_PX, HEIGHT_PX).save(folder / name)
    mask = picture(1, WIDTH_PX, HEIGHT_PX).convert("L").point(lambda gray: 255 * (gray > 128))
    mask.save(folder / "watermark.png")


def run_blocks(page: Path, folder: Path, address: str) -> list[str]:
    """Run the `sh` and `python` blocks of a page, and return what each program wrote to stdout.

    Blocks of one language that follow each other are one program: what one defines, the next may use.
    """
    programs = groupby(_examples(page), lambda block: block.language)
    return [_run(page, language, list(group), folder, address) for language, group in programs]


def _examples(page: Path) -> list[Block]:
    """Return the blocks to run; those that cannot run are marked `console`, `text` or not at all."""
    blocks = [block for block in blocks_of(page) if block.language in ("sh", "python")]
    return [block for block in blocks if not block.lines[0].startswith(SETTING_UP)]


def _run(page: Path, language: str, blocks: list[Block], folder: Path, address: str) -> str:
    script = folder / f"{page.stem}-{blocks[0].first_line}.{language}"
    script.write_text(_program(blocks).replace("localhost:50051", address).replace("--steps 600", "--steps 2"))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-ex", script] if language == "sh" else [sys.executable, script],
        cwd=folder,
        env={**os.environ, "WHYMATCH_ADDRESS": address, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{page.name}: {done.stderr[-3000:]}"
    return done.stdout


def _program(blocks: list[Block]) -> str:
    """Return the blocks where they are on their page, so that errors name its lines."""
    lines: list[str] = []
    for block in blocks:
        lines += [""] * (block.first_line - len(lines)) + list(block.lines)
    return "\n".join(lines) + "\n"
