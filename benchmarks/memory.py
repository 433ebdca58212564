"""Peak memory of the server while images are added: it must not grow with their number."""

import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.networks import small_network
from benchmarks.pictures import write_jpegs
from benchmarks.report import Figure
from whymatch.client import Client, NewImage
from whymatch.client.apps.local_server import local_server

FEW, MANY = 2_000, 10_000
DIFFERENT = 500


def run() -> list[Figure]:
    """Measure the peak after 2,000 images and after 10,000 in servers of their own."""
    with tempfile.TemporaryDirectory() as folder:
        files = write_jpegs(Path(folder) / "jpegs", DIFFERENT)
        contents = [path.read_bytes() for path in files]
        few, many = (_peak(Path(folder) / f"data-{count}", contents, count) for count in (FEW, MANY))
    vectors = (MANY - FEW) * 512 * 4 / 2**20
    return [
        Figure(
            f"peak memory of the server adding {MANY:,} images over {FEW:,}",
            many / few,
            at_most=1.15,
            detail=f"{many:.0f} MiB against {few:.0f} MiB; the vectors themselves take {vectors:.0f} MiB more",
        )
    ]


def _peak(data: Path, contents: list[bytes], count: int) -> float:
    """Return the largest resident set of a server, in MiB, while it adds `count` images."""
    flags = "--model", small_network(data.parent), "--size-px", "96", "--log-level", "warning"
    with local_server(data, *flags) as address, Client(address) as client:
        watch = _Watch(data)
        client.create_gallery("default")
        assert sum(not added.error for added in client.add(_images(contents, count))) == count
        return watch.stop()


def _images(contents: list[bytes], count: int) -> Iterator[NewImage]:
    """Yield images that differ in a trailing comment, so that none is a duplicate."""
    for number in range(count):
        yield NewImage(contents[number % len(contents)] + b"%d" % number, f"{number}.jpg")


class _Watch:
    """Reads the resident set of the server that uses a data directory, ten times a second."""

    def __init__(self, data: Path) -> None:
        self._status = next(_statuses(str(data)))
        self._peak = 0.0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> float:
        self._stopped.set()
        self._thread.join()
        return self._peak

    def _run(self) -> None:
        while not self._stopped.is_set():
            lines = self._status.read_text().splitlines()
            kilobytes = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
            self._peak = max(self._peak, kilobytes / 1024)
            time.sleep(0.1)


def _statuses(data: str) -> Iterator[Path]:
    """Find the processes whose command line names a data directory."""
    for process in Path("/proc").glob("[0-9]*"):
        words = (process / "cmdline").read_bytes().split(b"\0")
        if data.encode() in words:
            yield process / "status"
