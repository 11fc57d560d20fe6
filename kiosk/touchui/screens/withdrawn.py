"""WITHDRAWN: consent was taken back; nothing of the session is left but the record of that."""

from __future__ import annotations

from typing import ClassVar

from kiosk.touchui.screens.declined import Refused, Wording


class Withdrawn(Refused):
    """The patient changed their mind."""

    title: ClassVar[str] = "Withdrawn"
    words: ClassVar[Wording] = Wording(
        icon="hand",
        title="Consent withdrawn",
        text="All photographs of this session are destroyed.",
        unfinished="The photographs of this session will not be sent.",
        noun="withdrawal",
    )
