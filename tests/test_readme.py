"""The README's examples run, in its order, against a real server."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sample_pictures import picture

from whymatch.client.apps.local_server import local_server

README = (Path(__file__).parents[1] / "README.md").read_text()
EXAMPLES = re.findall(r"```(sh|python)\n(.*?)```", README, re.DOTALL)
SETTING_UP = ("pip ", "make ", "whymatch serve ")
"""What CI, the package test and the fixture below do instead."""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos/cats").mkdir(parents=True)
    (tmp_path / "photos/dogs").mkdir()
    for seed, name in enumerate(["cats/cat", "dogs/dog", "cats/tom", "dogs/rex"], start=1):
        picture(seed).save(tmp_path / f"photos/{name}.png")
    picture(1).save(tmp_path / "query.jpg")
    return tmp_path


@pytest.mark.timeout(300)  # two dozen commands, each a process of its own
def test_the_examples_run_one_after_the_other(folder):
    scripts = Path(sys.executable).parent
    said = []
    with local_server(folder / "data") as address:
        environment = {**os.environ, "WHYMATCH_ADDRESS": address, "PATH": f"{scripts}:{os.environ['PATH']}"}
        for language, example in EXAMPLES:
            if example.startswith(SETTING_UP):
                continue
            code = example.replace("localhost:50051", address).replace("--steps 600", "--steps 2")
            command = ["sh", "-ec", code] if language == "sh" else [sys.executable, "-c", code]
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            said.append(done.stdout)
    command_line, by_parts, units, head, python, models, rooms = said
    assert "cats~cat.png" in command_line
    assert '"score"' in command_line
    assert (folder / "maps/sheet.png").exists()
    assert "cats~cat.png" in by_parts
    assert (folder / "point/sheet.png").exists()
    assert (folder / "cats/sheet.png").exists()
    assert (folder / "active/sheet.png").exists()
    assert (folder / "evidence/sheet.png").exists()
    assert "labels of the top 4 images: " in units
    assert "is enough for cats~cat.png" in units
    assert len(list((folder / "why").glob("features.18.2-*.png"))) == 3
    assert (folder / "segment/sheet.png").exists()
    assert "centering, 1280 dimensions, version 1, fitted to 4 images" in head
    assert (folder / "cat.png.map.png").exists()
    assert "cat.png stored" in python
    assert "run/model.safetensors" in models
    assert (folder / "quality.png").exists()
    assert (folder / "compare-output/report.html").exists()
    score, total = map(float, rooms.split())
    assert score == pytest.approx(total, abs=1e-6)


def test_every_make_target_of_the_readme_is_in_the_makefile():
    makefile = (Path(__file__).parents[1] / "Makefile").read_text()
    targets = set(re.findall(r"(?:^|`)make (\w+)", README, re.MULTILINE))
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
    section = README.split("## Run the server")[1].split("A gallery belongs")[0]
    flags = set(re.findall(r"--[a-z][\w-]+", section))
    assert flags
    assert flags <= set(re.findall(r"--[\w-]+", shown))
