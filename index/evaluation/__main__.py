"""Evaluates models: `python -m whymatch.index.evaluation`, or `whymatch evaluate`."""

from whymatch.index.evaluation.command import main

main()
