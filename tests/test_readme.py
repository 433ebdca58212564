"""The README's examples run, in its order, against a real server."""

import os
import re
import subprocess
import sys

import pytest
from doc_blocks import README, ROOT, run_blocks

from whymatch.client.apps.local_server import local_server


@pytest.mark.timeout(600)  # a minute, but on a busy machine: two dozen commands, each a process of its own
def test_the_examples_run_one_after_the_other(tmp_path):
    with local_server(tmp_path / "data") as address:
        first_search, python, rest = run_blocks(README, tmp_path, address)
    assert "chelsea~whole.jpg" in first_search
    assert '"score"' in first_search
    assert (tmp_path / "chelsea~whole.jpg.map.png").exists()
    assert "chelsea~whole.jpg stored" in python
    assert "is enough for the match chelsea~" in rest
    assert "labels of the top 9 images: " in rest
    assert "centering, 1280 dimensions, version 1, fitted to 9 images" in rest
    assert "run/model.safetensors" in rest
    for folder in ("maps", "point", "label", "active", "evidence", "segment"):
        assert (tmp_path / folder / "sheet.png").exists()
    assert len(list((tmp_path / "why").glob("features.18.2-*.png"))) == 3
    assert (tmp_path / "quality.png").exists()
    assert (tmp_path / "compare-output/report.html").exists()


def test_every_make_target_of_the_readme_is_in_the_makefile():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"(?:^|`)make (\w+)", README.read_text(), re.MULTILINE))
    assert {"demo", "test", "lint", "bench", "generate"} <= targets
    assert all(f"\n{target}:" in makefile for target in targets)


def test_every_flag_of_the_readme_exists():
    shown = subprocess.run(
        [sys.executable, "-m", "whymatch.server", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "200"},
    ).stdout
    section = README.read_text().split("## Run the server")[1].split("A gallery belongs")[0]
    flags = set(re.findall(r"--[a-z][\w-]+", section))
    assert flags
    assert flags <= set(re.findall(r"--[\w-]+", shown))
