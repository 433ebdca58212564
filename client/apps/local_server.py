"""A whymatch server as a process of its own on this machine, for as long as a block runs."""

import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

START_LIMIT_S = 120.0
STOP_LIMIT_S = 30.0
FIRST_LINE = "whymatch listening on "


class ServerNotStarted(Exception):
    """The server ended, or said nothing, before it was ready; the message carries the end of its log."""


@contextmanager
def local_server(data: Path, *arguments: str) -> Iterator[str]:
    """Start a server on a free port, yield its address, stop it at the end."""
    command = [sys.executable, "-m", "whymatch.server", "--data", str(data), "--port", "0", *arguments]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            yield _address(process, log)
        finally:
            _stop(process)


def _address(process: subprocess.Popen[str], log: IO[bytes]) -> str:
    """Wait for the first line of the server, which says where it listens."""
    assert process.stdout
    patience = threading.Timer(START_LIMIT_S, process.kill)
    patience.start()
    line = process.stdout.readline()  # empty once the process has ended
    patience.cancel()
    if line.startswith(FIRST_LINE):
        return line.removeprefix(FIRST_LINE).strip()
    _stop(process)
    log.seek(0)
    said = log.read().decode(errors="replace")
    raise ServerNotStarted(f"the server did not start; the end of its log:\n{said[-2000:]}")


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.communicate(timeout=STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
