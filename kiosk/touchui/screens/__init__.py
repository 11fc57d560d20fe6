"""One file per state, and the table that says which screen draws which."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from kiosk.flow import State
from kiosk.touchui.screens.base import Screen
from kiosk.touchui.screens.body_site import ChooseBodySite
from kiosk.touchui.screens.confirm_patient import ConfirmPatient
from kiosk.touchui.screens.consent import Consent
from kiosk.touchui.screens.correction import CorrectionScreen
from kiosk.touchui.screens.declined import Declined
from kiosk.touchui.screens.fault import Fault
from kiosk.touchui.screens.find_receipt import FindReceipt
from kiosk.touchui.screens.found_receipt import FoundReceipt
from kiosk.touchui.screens.identify import Identify
from kiosk.touchui.screens.locked import Locked
from kiosk.touchui.screens.preview import Preview
from kiosk.touchui.screens.receipt import ReceiptScreen
from kiosk.touchui.screens.review import Review
from kiosk.touchui.screens.sign_in import SignIn
from kiosk.touchui.screens.summary import Summary
from kiosk.touchui.screens.today import Today
from kiosk.touchui.screens.withdrawn import Withdrawn

SCREENS: Mapping[State, Callable[[], Screen]] = MappingProxyType(
    {
        State.LOCKED: Locked,
        State.SIGN_IN: SignIn,
        State.IDENTIFY: Identify,
        State.TODAY: Today,
        State.CONFIRM_PATIENT: ConfirmPatient,
        State.CONSENT: Consent,
        State.BODY_SITE: ChooseBodySite,
        State.PREVIEW: Preview,
        State.REVIEW: Review,
        State.SUMMARY: Summary,
        State.RECEIPT: ReceiptScreen,
        State.DECLINED: Declined,
        State.WITHDRAWN: Withdrawn,
        State.FAULT: Fault,
        State.FIND_RECEIPT: FindReceipt,
        State.FOUND_RECEIPT: FoundReceipt,
        State.CORRECTION: CorrectionScreen,
    }
)
"""The screen of each state."""

__all__ = ["SCREENS", "Screen"]
