"""Runs the server: `python -m whymatch.server`, or `whymatch serve`."""

from whymatch.server.cli import main

main()
