"""Runs benchmarks of explanations: `python -m whymatch.explain.benchmark`, or `whymatch benchmark`."""

from whymatch.explain.benchmark.command import main

main()
