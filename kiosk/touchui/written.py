"""How counts and times are written on the screen."""

from __future__ import annotations

from datetime import datetime

from kiosk.touchui.widgets.banner import written_date


def count_of(photos: int) -> str:
    """'1 photograph', '3 photographs'."""
    return "1 photograph" if photos == 1 else f"{photos} photographs"


def time_of(at: datetime) -> str:
    """'09:30', local time."""
    return at.astimezone().strftime("%H:%M")


def date_and_time_of(at: datetime) -> str:
    """'23-Nov-2026 09:30', local time."""
    local = at.astimezone()
    return f"{written_date(local.date())} {local:%H:%M}"
