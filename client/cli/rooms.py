"""Commands of other rooms, which the client may not import: it looks them up by name when one is called."""

import importlib
import importlib.util
import sys
from collections.abc import Sequence

import typer

COMMANDS = {
    "serve": "whymatch.server.command",
    "train": "whymatch.embed.training.command",
    "evaluate": "whymatch.index.evaluation.command",
    "study": "whymatch.explain.interactive_study.command",
}
"""The module whose `main` runs a command."""
SERVER_PACKAGES = ("faiss", "grpc_health", "grpc_reflection", "safetensors", "torch", "torchvision")


def run_room(command: str, arguments: Sequence[str]) -> None:
    """Run a command of another room."""
    require_server()
    importlib.import_module(COMMANDS[command]).main(arguments)


def require_server() -> None:
    """Say how to install the server if it is not."""
    missing = [package for package in SERVER_PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        print(
            f"whymatch: the server needs packages that are not installed ({', '.join(missing)}); "
            'pip install ".[server]" in a checkout of whymatch brings them',
            file=sys.stderr,
        )
        raise typer.Exit(1)
