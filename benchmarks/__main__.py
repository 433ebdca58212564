"""`make bench`, or `python -m benchmarks [NAME ...]`: prints a table and writes it to benchmarks/RESULTS.md."""

import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import (
    adding,
    difference_maps,
    differences,
    explaining,
    faithfulness,
    interactive,
    localizing,
    memory,
    refitting,
    regions,
    retrieving,
    searching,
    units,
)
from benchmarks.report import Figure, table

BENCHMARKS: dict[str, Callable[[], list[Figure]]] = {
    "adding": adding.run,
    "searching": searching.run,
    "explaining": explaining.run,
    "regions": regions.run,
    "refitting": refitting.run,
    "retrieving": retrieving.run,
    "interactive": interactive.run,
    "differences": differences.run,
    "difference-maps": difference_maps.run,
    "units": units.run,
    "localizing": localizing.run,
    "faithfulness": faithfulness.run,
    "memory": memory.run,
}
RESULTS = Path(__file__).parent / "RESULTS.md"


def main(names: list[str]) -> int:
    """Run the benchmarks named, all of them by default; exit status 1 if one misses what it must reach."""
    unknown = set(names) - set(BENCHMARKS)
    if unknown:
        print(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    figures: list[Figure] = []
    for name in names or BENCHMARKS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        for figure in BENCHMARKS[name]():
            print(figure, flush=True)
            figures.append(figure)
    if not names:
        machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
        RESULTS.write_text(f"# Figures\n\nMeasured by `make bench` on {machine}.\n\n{table(figures)}")
    return 0 if all(figure.reached for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
