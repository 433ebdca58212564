"""The `whymatch` command: parse, call, print. Data goes to stdout, talk to stderr."""
