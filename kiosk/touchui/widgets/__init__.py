"""The widgets: frozen objects that know their box and how to draw themselves.

A screen makes a list of them from what it is given; the app compares the list with the one on the
screen and draws only what differs. Everything that changes a widget's looks is one of its fields.
"""

from kiosk.touchui.widgets.banner import Matched, PatientBanner
from kiosk.touchui.widgets.bar import Countdown, StatusBar
from kiosk.touchui.widgets.base import Fill, Scrim, Tappable, Widget
from kiosk.touchui.widgets.buttons import (
    ACTION,
    BACK,
    DANGER,
    DANGER_OUTLINE,
    PRIMARY,
    SECONDARY,
    Button,
    Choice,
    IconButton,
    LinkButton,
    Shutter,
    segmented,
    yes_no,
)
from kiosk.touchui.widgets.keys import Key, keyboard, pin_pad
from kiosk.touchui.widgets.pad import SignaturePad
from kiosk.touchui.widgets.pictures import Brackets, Chip, Thumbnail, Viewport
from kiosk.touchui.widgets.texts import (
    Card,
    Dots,
    Hint,
    IconText,
    Label,
    Paragraph,
    Pill,
    Rule,
    TextField,
    VerdictRow,
)

__all__ = [
    "ACTION",
    "BACK",
    "DANGER",
    "DANGER_OUTLINE",
    "PRIMARY",
    "SECONDARY",
    "Brackets",
    "Button",
    "Card",
    "Chip",
    "Choice",
    "Countdown",
    "Dots",
    "Fill",
    "Hint",
    "IconButton",
    "IconText",
    "Key",
    "Label",
    "LinkButton",
    "Matched",
    "Paragraph",
    "PatientBanner",
    "Pill",
    "Rule",
    "Scrim",
    "Shutter",
    "SignaturePad",
    "StatusBar",
    "Tappable",
    "TextField",
    "Thumbnail",
    "VerdictRow",
    "Viewport",
    "Widget",
    "keyboard",
    "pin_pad",
    "segmented",
    "yes_no",
]
