"""A small trained network, squeezenet1_1, that tests run instead of the bundled one, to be quick."""

from pathlib import Path

WEIGHTS = Path(__file__).with_name("squeezenet1_1.safetensors")
SMALL = str(WEIGHTS)
DIMENSIONS = 512
