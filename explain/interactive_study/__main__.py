"""Runs benchmarks of explanations: `python -m whymatch.explain.interactive_study`, or `whymatch benchmark`."""

from whymatch.explain.interactive_study.command import main

main()
