"""Repeats the InterActive paper's experiments: `python -m whymatch.explain.interactive_study`, or `whymatch study`."""

from whymatch.explain.interactive_study.command import main

main()
