"""`python -m whymatch.client` is the `whymatch` command."""

from whymatch.client.cli.app import main

main()
