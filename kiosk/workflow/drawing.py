"""docs/workflow.md, drawn from the table: `python -m kiosk.workflow.drawing > docs/workflow.md`."""

from __future__ import annotations

import sys

from kiosk.flow import SECONDS, State
from kiosk.workflow import TABLE, Rule

_EVERYWHERE = ("LockAsked", "TimedOut", "Failed", "QuestionConfirmed", "QuestionDismissed")
"""Ways out that nearly every state has: listed in the table, left out of the drawing."""

_HEAD = """# The workflow

Made from the table in `kiosk/workflow/` by `make docs`; do not edit. A pair of state and event
that is not listed changes nothing. Left out of the drawing, because nearly every state has them:
*Lock* and the time-out (to LOCKED, always with a wipe), lasting failures (to FAULT), and the
withdrawal after consent (to WITHDRAWN).
"""


def markdown() -> str:
    """Return the whole document."""
    return "\n".join([_HEAD, *_drawing(), "", *_timeouts(), "", *_table()]) + "\n"


def _drawing() -> list[str]:
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> LOCKED"]
    for rule in TABLE.values():
        if rule.event.__name__ in _EVERYWHERE:
            continue
        for target in rule.to:
            if target is not rule.state:
                lines.append(f"    {rule.state.name} --> {target.name}: {rule.event.__name__}")
    lines.append("    CONSENT --> DECLINED: QuestionConfirmed (decline)")
    lines.append("    PREVIEW --> WITHDRAWN: QuestionConfirmed (withdraw)")
    return [*lines, "```"]


def _timeouts() -> list[str]:
    rows = [f"| {state.name} | {SECONDS[state]} |" for state in State]
    return [
        "## Time-outs",
        "",
        "Seconds without a touch, a press or a scan.",
        "",
        "| state | s |",
        "|---|---|",
        *rows,
    ]


def _table() -> list[str]:
    rows = [_row(rule) for state in State for rule in TABLE.values() if rule.state is state]
    return ["## The table", "", "| state | event | to | note |", "|---|---|---|---|", *rows]


def _row(rule: Rule) -> str:
    targets = ", ".join("stays" if t is rule.state else t.name for t in rule.to)
    return f"| {rule.state.name} | {rule.event.__name__} | {targets} | {rule.note} |"


if __name__ == "__main__":
    sys.stdout.write(markdown())
