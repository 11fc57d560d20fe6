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
    print(f"{'what':<58} {'ours':>12} {'reference':>12} {'ratio':>8}")
    for name in names or MODULES:
        for what, ours, reference, ratio in MODULES[name].rows():
            print(f"{name + ': ' + what:<58} {ours:>12.3f} {reference:>12.3f} {ratio:>8.2f}", flush=True)
    print("\nMedians in milliseconds unless the row says otherwise. Below 1: faster than the reference.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
