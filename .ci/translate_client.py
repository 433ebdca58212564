"""Translates the async client into the sync one: `python .ci/translate_client.py OUT`, which `make generate` runs.

`unasync` takes out `async` and `await` and renames what has another name without them; all else stays as it is. What
cannot be translated stands in `client/transport.py` and `client/transport_aio.py`.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import unasync

CLIENT = Path(__file__).parents[1] / "client"
TRANSLATIONS = {"aio.py": "client.py", "units_aio.py": "units.py"}
HEADER = "# Generated from {source} by `make generate`; do not edit.\n"
NAMES = {
    "AsyncClient": "Client",
    "AsyncTransport": "Transport",
    "AsyncUnits": "Units",
    "aclosing": "closing",
    "transport_aio": "transport",
    "units_aio": "units",
}


def translate(out: Path) -> None:
    """Write the sync modules into the folder `out`."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "async"), Path(folder, "sync")
        source.mkdir()
        for name in TRANSLATIONS:
            (source / name).write_text((CLIENT / name).read_text())
        rule = unasync.Rule(f"{source}/", f"{target}/", additional_replacements=NAMES)
        unasync.unasync_files([str(path) for path in source.iterdir()], [rule])
        for name, new in TRANSLATIONS.items():
            (out / new).write_text(HEADER.format(source=name) + (target / name).read_text())
    files = [out / new for new in TRANSLATIONS.values()]
    ruff, settings = Path(sys.executable).with_name("ruff"), ["--config", CLIENT.parent / "pyproject.toml", "--quiet"]
    subprocess.run([ruff, "check", "--select", "I", "--fix", *settings, *files], check=True)
    subprocess.run([ruff, "format", *settings, *files], check=True)


if __name__ == "__main__":
    translate(Path(sys.argv[1]))
