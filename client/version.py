"""The version of this client."""

from importlib.metadata import version

__version__ = version("whymatch")
