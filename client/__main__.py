"""`python -m whymatch.client` is the `whymatch` command."""

from whymatch.client.cli import main

main()
