"""`make bench`: every measurement in one table. `make bench ARGS=seal` runs one module."""

from __future__ import annotations

import sys

from benchmarks import capture, seal, ui, whole

MODULES = {"capture": capture, "whole": whole, "ui": ui, "seal": seal}


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in MODULES]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; there are: {', '.join(MODULES)}", file=sys.stderr)
        return 1
    print(f"{'what':<62} {'ours':>10} {'reference':>10} {'ratio':>7}  aim")
    for name in names or MODULES:
        for what, ours, reference, ratio, *aim in MODULES[name].rows():
            told = f"{name + ': ' + what:<62} {ours:>10.3f} {reference:>10.3f} {ratio:>7.2f}"
            print(f"{told}  {_verdict(ratio, *aim)}".rstrip(), flush=True)
    print("\nMedians in milliseconds unless the row says otherwise. Below 1: faster than the reference.")
    return 0


def _verdict(ratio: float, aim: float | None = None) -> str:
    """Whether the ratio is what it should be; nothing where no aim is set."""
    return "" if aim is None else f"{aim:g}: {'met' if ratio <= aim else 'MISSED'}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
