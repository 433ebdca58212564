"""Runs the server: `python -m whymatch.server`, or `whymatch serve`."""

from whymatch.server.command import main

main()
