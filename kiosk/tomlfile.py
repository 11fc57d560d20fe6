"""Reading a TOML file that somebody wrote by hand: bounded, and no complaint repeats what is in it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kiosk.errors import ConfigError

_LINE_MAX = 2000
"""Characters. tomllib takes quadratic time over a key of very many dots."""
_COMPLAINTS_MAX = 100


def load(path: Path, limit: int) -> dict[str, Any]:
    """Return the document in `path`, at most `limit` bytes. Raises ConfigError that names the place."""
    try:
        with open(path, "rb") as file:
            data = file.read(limit + 1)
    except OSError as e:
        raise ConfigError((f"{path}: cannot be read: {e.strerror}; allowed: a readable file",)) from None
    if len(data) > limit:
        raise ConfigError((f"{path}: too large; allowed: {limit} bytes",))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError((f"{path}: not UTF-8 text; allowed: a TOML file in UTF-8",)) from None
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > _LINE_MAX:
            raise ConfigError(
                (f"{path}: not TOML: line {number} is too long; allowed: {_LINE_MAX} characters",)
            )
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as e:
        where = _where(e)
    # Raised out here: the parser's own sentence may quote a badge or a password.
    raise ConfigError((f"{path}: not TOML{where}; allowed: key = value lines below [section] lines",))


def shortened(complaints: Sequence[str]) -> tuple[str, ...]:
    """The first hundred complaints, and how many more there are."""
    more = len(complaints) - _COMPLAINTS_MAX
    return (*complaints[:_COMPLAINTS_MAX], f"and {more} more") if more > 0 else tuple(complaints)


def _where(error: ValueError | RecursionError) -> str:
    place = re.search(r"\(at (line \d+, column \d+|end of document)\)$", str(error))
    return f", {place[1]}" if place else ""
