"""The player's little language: one step a line, `#` starts a comment.

badge CODE | scan CODE          the scanner reads a badge or a wristband (quotes keep blanks)
pin DIGITS                      taps the keys of the PIN pad, then OK
type TEXT                       taps the keys of the on-screen keyboard
tap "LABEL"                     touches what carries this label
sign                            draws a signature with a finger
press [SECONDS]                 presses the hardware button
camera blur|dark|hang|unplug|ok
network down|up                 of the built-in server
server FAULT                    makes the built-in server misbehave, see demo/faults.py; `server none`
wait STATE|EVENT [SECONDS]      a state in capitals, or a journal event such as receipt, delivery:proving
expect "TEXT"                   this text is on the screen (or appears within 5 seconds)
absent "TEXT"                   this text is not on the screen
shot NAME                       writes the screen to NAME.png in --screens
pause SECONDS
kill ui|uploader                kill -9
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from kiosk.demo.faults import Faults
from kiosk.errors import ConfigError
from kiosk.flow import State

CAMERA = ("blur", "dark", "hang", "unplug", "ok")
_ONE_TEXT = ("badge", "scan", "pin", "type", "tap", "expect", "absent", "shot")
_CHOICES = {"camera": CAMERA, "network": ("down", "up"), "kill": ("ui", "uploader")}
_SHOWN = 40
"""Characters of a wrong word that a complaint repeats."""
VERBS = (*_ONE_TEXT, *_CHOICES, "sign", "press", "server", "wait", "pause")


@dataclass(frozen=True, slots=True)
class Step:
    """One line: its number in the file (from 1), the verb, and its arguments."""

    line: int
    verb: str
    text: str = ""
    seconds: float | None = None


def parse(text: str, source: str) -> list[Step]:
    """Return the steps. Raises ConfigError that names every wrong line and says what is allowed."""
    steps: list[Step] = []
    complaints: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            words = shlex.split(line, comments=True)
            if words:
                steps.append(_step(number, words))
        except ValueError as e:
            complaints.append(f"{source}:{number}: {e}")
    if not steps and not complaints:
        complaints.append(f"{source}: no steps; allowed: one step a line, such as: scan 9991230009")
    if complaints:
        raise ConfigError(tuple(complaints))
    return steps


def _step(number: int, words: list[str]) -> Step:
    verb, *rest = words
    if verb in _ONE_TEXT:
        _count(verb, rest, 1, 1, "one text (in quotes where it has blanks)")
        return Step(number, verb, rest[0])
    if verb in _CHOICES:
        _count(verb, rest, 1, 1, " or ".join(_CHOICES[verb]))
        if rest[0] not in _CHOICES[verb]:
            raise ValueError(f"{verb} {rest[0][:_SHOWN]}; allowed: {', '.join(_CHOICES[verb])}")
        return Step(number, verb, rest[0])
    match verb:
        case "sign":
            _count(verb, rest, 0, 0, "nothing behind it")
            return Step(number, verb)
        case "press":
            _count(verb, rest, 0, 1, "nothing, or seconds")
            return Step(number, verb, seconds=_seconds(rest[0]) if rest else None)
        case "pause":
            _count(verb, rest, 1, 1, "seconds")
            return Step(number, verb, seconds=_seconds(rest[0]))
        case "server":
            Faults().set(" ".join(rest))
            return Step(number, verb, " ".join(rest))
        case "wait":
            _count(verb, rest, 1, 2, "a state or an event, and perhaps seconds")
            _waitable(rest[0])
            return Step(number, verb, rest[0], _seconds(rest[1]) if len(rest) > 1 else None)
    raise ValueError(f"unknown step {verb[:_SHOWN]!r}; allowed: {', '.join(sorted(VERBS))}")


def _waitable(name: str) -> None:
    if name.isupper() and name not in State.__members__:
        raise ValueError(f"unknown state {name[:_SHOWN]}; allowed: {', '.join(State.__members__)}")


def _count(verb: str, rest: list[str], least: int, most: int, allowed: str) -> None:
    if not least <= len(rest) <= most:
        raise ValueError(f"{verb} takes {allowed}")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        raise ValueError(f"{text[:_SHOWN]!r} is not a number of seconds") from None
    if not 0 <= seconds <= 600:
        raise ValueError("seconds are 0 to 600")
    return seconds
