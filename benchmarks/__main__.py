"""`make bench`, or `python -m benchmarks [NAME ...]`: prints a table and writes it to benchmarks/RESULTS.md."""

import os
import platform
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from benchmarks.report import Figure, table

BENCHMARKS = {
    "adding": ["adding"],
    "searching": ["searching"],
    "living": ["living"],
    "explaining": ["explaining"],
    "regions": ["regions"],
    "examples": ["examples"],
    "refitting": ["refitting"],
    "retrieving": ["quality_retrieving"],
    "interactive": ["interactive", "quality_interactive"],
    "differences": ["differences"],
    "difference-maps": ["quality_difference_maps"],
    "units": ["units"],
    "localizing": ["quality_localizing"],
    "faithfulness": ["quality_faithfulness"],
    "memory": ["memory"],
}
"""The modules of each name. A process that a benchmark starts imports this file again, but none of them."""
RESULTS = Path(__file__).parent / "RESULTS.md"


def main(names: list[str]) -> int:
    """Run the benchmarks named, all of them by default; exit status 1 if one misses what it must reach."""
    unknown = set(names) - set(BENCHMARKS)
    if unknown:
        print(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    figures: list[Figure] = []
    for figure in _measured(names or list(BENCHMARKS)):
        print(figure, flush=True)
        figures.append(figure)
    if not names:
        machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
        RESULTS.write_text(f"# Figures\n\nMeasured by `make bench` on {machine}.\n\n{table(figures)}")
    return 0 if all(figure.reached for figure in figures) else 1


def _measured(names: list[str]) -> Iterator[Figure]:
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        for module in BENCHMARKS[name]:
            yield from import_module(f"benchmarks.{module}").run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
