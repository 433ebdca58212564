"""Commands that live in other rooms, which the client may not import."""

import importlib.util
import runpy
import sys

import typer

SERVER_PACKAGES = ("faiss", "grpc_health", "grpc_reflection", "safetensors", "torch", "torchvision")


def run_room(module: str, context: typer.Context) -> None:
    """Hand a command and its arguments to another room, which the client may not import."""
    require_server()
    sys.argv = [f"whymatch {context.info_name}", *context.args]
    runpy.run_module(module, run_name="__main__")


def require_server() -> None:
    """Say how to install the server if it is not."""
    missing = [package for package in SERVER_PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        print(
            f"whymatch: the server needs packages that are not installed ({', '.join(missing)}); "
            'pip install "whymatch[server]" brings them',
            file=sys.stderr,
        )
        raise typer.Exit(1)
