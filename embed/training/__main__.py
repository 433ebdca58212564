"""Trains a network: `python -m whymatch.embed.training`, or `whymatch train`."""

from whymatch.embed.training.command import main

main()
