"""What can happen (events) and what shall be done (effects): the workflow's two vocabularies.

Events come from touches, the button, the scanner, the clock and the workers.
Effects are carried out by workers, which answer with events. Both are frozen and hold no behaviour.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from kiosk.errors import Problem
from kiosk.model import (
    BodySite,
    Consent,
    Correction,
    Filed,
    Match,
    Patient,
    Photo,
    Practitioner,
    Purpose,
    Receipt,
    Session,
    Signer,
    Stage,
    Stroke,
    VisitList,
)


class Event:
    """Base of all events."""


class Effect:
    """Base of all effects."""


# --- from people ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SignInTouched(Event):
    """The lock screen was touched."""


@dataclass(frozen=True, slots=True)
class Scanned(Event):
    """The scanner sent this text, exactly as it came."""

    text: str


@dataclass(frozen=True, slots=True)
class Typed(Event):
    """Typed and confirmed: a staff number (SIGN_IN), a patient's (IDENTIFY), a receipt (FIND_RECEIPT)."""

    text: str


@dataclass(frozen=True, slots=True)
class PinEntered(Event):
    """The PIN pad's OK was touched."""

    pin: str

    def __repr__(self) -> str:
        return "PinEntered(...)"


@dataclass(frozen=True, slots=True)
class ListTouched(Event):
    """'Today's list.'"""


@dataclass(frozen=True, slots=True)
class VisitChosen(Event):
    """A line of today's list was touched. `patient`: the logical id."""

    patient: str


@dataclass(frozen=True, slots=True)
class PatientConfirmed(Event):
    """'Yes, this is the patient.'"""


@dataclass(frozen=True, slots=True)
class PatientRejected(Event):
    """'No, somebody else.'"""


@dataclass(frozen=True, slots=True)
class ChoiceMade(Event):
    """Yes or no for one purpose."""

    purpose: Purpose
    allowed: bool


@dataclass(frozen=True, slots=True)
class SignerChosen(Event):
    """Who signs."""

    signer: Signer


@dataclass(frozen=True, slots=True)
class StrokeDrawn(Event):
    """The finger left the signature pad after this stroke."""

    stroke: Stroke


@dataclass(frozen=True, slots=True)
class SignatureCleared(Event):
    """All strokes are dropped."""


@dataclass(frozen=True, slots=True)
class Agreed(Event):
    """'Agree, take photos.' The id becomes the Consent's identifier."""

    consent: UUID
    at: datetime


@dataclass(frozen=True, slots=True)
class Declined(Event):
    """'Patient declines.'"""

    consent: UUID
    at: datetime


@dataclass(frozen=True, slots=True)
class SiteChosen(Event):
    """A body site was chosen."""

    site: BodySite


@dataclass(frozen=True, slots=True)
class ChangeSiteTouched(Event):
    """The body site shall be chosen again."""


@dataclass(frozen=True, slots=True)
class ShutterPressed(Event):
    """The hardware button (or the one on the screen) went down.

    frame: sequence number of the preview frame that was on the screen at that moment (-1: none).
    photo: the identifier minted for the photograph.  at: when.
    """

    frame: int
    photo: UUID
    at: datetime


@dataclass(frozen=True, slots=True)
class LightToggled(Event):
    """Ring light on or off."""


@dataclass(frozen=True, slots=True)
class Kept(Event):
    """'Keep' on the review screen."""


@dataclass(frozen=True, slots=True)
class Retaken(Event):
    """'Retake' on the review screen."""


@dataclass(frozen=True, slots=True)
class FinishTouched(Event):
    """Enough photographs: show the summary."""


@dataclass(frozen=True, slots=True)
class MoreTouched(Event):
    """Back from the summary to the camera."""


@dataclass(frozen=True, slots=True)
class RemoveTouched(Event):
    """Drop one kept photograph."""

    photo: UUID


@dataclass(frozen=True, slots=True)
class SendTouched(Event):
    """'Send to the record.'"""

    at: datetime


@dataclass(frozen=True, slots=True)
class WithdrawAsked(Event):
    """'Withdraw and destroy' was touched; a second touch must confirm."""


@dataclass(frozen=True, slots=True)
class FindReceiptTouched(Event):
    """Something is to be done about photographs that are in the record already."""


@dataclass(frozen=True, slots=True)
class WithdrawalAsked(Event):
    """These purposes of the found receipt are to be withdrawn; two questions follow."""

    purposes: tuple[Purpose, ...]


@dataclass(frozen=True, slots=True)
class WrongPatientAsked(Event):
    """The found photographs are of somebody else; two questions follow."""


@dataclass(frozen=True, slots=True)
class LockAsked(Event):
    """'Lock' in the status bar."""


@dataclass(frozen=True, slots=True)
class QuestionConfirmed(Event):
    """The destructive answer to the open question. `consent` identifies a withdrawal's record."""

    consent: UUID
    at: datetime


@dataclass(frozen=True, slots=True)
class QuestionDismissed(Event):
    """The harmless answer to the open question."""


@dataclass(frozen=True, slots=True)
class BackTouched(Event):
    """One step back, where there is one."""


@dataclass(frozen=True, slots=True)
class DoneTouched(Event):
    """Leave a closing screen."""


@dataclass(frozen=True, slots=True)
class RetryTouched(Event):
    """Try again after a fault."""


# --- from the clock ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TimedOut(Event):
    """Nobody did anything for as long as the state allows."""


# --- from the workers ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BadgeAccepted(Event):
    """The badge is known; now the PIN."""

    badge: str
    name: str


@dataclass(frozen=True, slots=True)
class SignInRefused(Event):
    """Badge or PIN refused."""

    problem: Problem
    tries_left: int | None = None


@dataclass(frozen=True, slots=True)
class SignedIn(Event):
    """The operator is who the badge says, and a session key was issued."""

    operator: Practitioner
    session: UUID


@dataclass(frozen=True, slots=True)
class PatientsFound(Event):
    """Answer of the look-up: none, one or several."""

    patients: tuple[Patient, ...]


@dataclass(frozen=True, slots=True)
class VisitsListed(Event):
    """Answer of the look-up: today's list."""

    list: VisitList


@dataclass(frozen=True, slots=True)
class ListFailed(Event):
    """Today's list is not to be had. It comes on its own, because a scan may be out meanwhile."""

    problem: Problem


@dataclass(frozen=True, slots=True)
class ReceiptFound(Event):
    """What the record holds under the receipt."""

    filed: Filed


@dataclass(frozen=True, slots=True)
class Failed(Event):
    """An effect could not be carried out. `lasting`: show FAULT, not a hint."""

    problem: Problem
    lasting: bool = False


@dataclass(frozen=True, slots=True)
class ConsentRecorded(Event):
    """The consent is sealed in the spool."""

    consent: Consent


@dataclass(frozen=True, slots=True)
class CameraReady(Event):
    """Frames are flowing."""


@dataclass(frozen=True, slots=True)
class Captured(Event):
    """The asked frame is in memory, encoded and measured, and waits for keep or retake."""

    photo: Photo


@dataclass(frozen=True, slots=True)
class Sealed(Event):
    """A kept photograph is sealed in the spool."""

    photo: Photo


@dataclass(frozen=True, slots=True)
class Removed(Event):
    """A kept photograph was destroyed."""

    photo: UUID


@dataclass(frozen=True, slots=True)
class Committed(Event):
    """The session directory was renamed to ready: from here only a proven delivery destroys."""


@dataclass(frozen=True, slots=True)
class DeliveryChanged(Event):
    """News of the committed session."""

    stage: Stage
    problem: Problem | None = None
    receipt: Receipt | None = None


@dataclass(frozen=True, slots=True)
class Wiped(Event):
    """Nothing of the session is left in this process but what a new process will not have."""


# --- effects -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CheckBadge(Effect):
    """Ask the uploader whether this badge is known."""

    badge: str


@dataclass(frozen=True, slots=True)
class CheckPin(Effect):
    """Ask the uploader to sign in and to issue a session key."""

    badge: str
    pin: str

    def __repr__(self) -> str:
        return "CheckPin(...)"


@dataclass(frozen=True, slots=True)
class FindPatient(Effect):
    """Look the identifier up. `typed`: by hand, not by scanner."""

    identifier: str
    typed: bool


@dataclass(frozen=True, slots=True)
class ListVisits(Effect):
    """Ask for today's list. A FindPatient that follows does not wait for its answer."""


@dataclass(frozen=True, slots=True)
class TellMatch(Effect):
    """For the audit: a patient was confirmed who was found like this. Nobody waits for it."""

    match: Match


@dataclass(frozen=True, slots=True)
class FindReceipt(Effect):
    """Look up what the record holds under this receipt."""

    receipt: str


@dataclass(frozen=True, slots=True)
class CommitCorrection(Effect):
    """Seal this correction and rename open to ready."""

    correction: Correction


@dataclass(frozen=True, slots=True)
class RecordConsent(Effect):
    """Seal the consent into the open session."""

    consent: Consent


@dataclass(frozen=True, slots=True)
class OpenCamera(Effect):
    """Start the preview. Carries the consent that allows it."""

    consent: Consent


@dataclass(frozen=True, slots=True)
class CloseCamera(Effect):
    """Stop the preview and drop its frames."""


@dataclass(frozen=True, slots=True)
class SetLight(Effect):
    """Ring light."""

    on: bool


@dataclass(frozen=True, slots=True)
class TakePhoto(Effect):
    """Fetch the full-resolution frame `frame` and encode it."""

    photo: UUID
    number: int
    frame: int
    at: datetime
    site: BodySite


@dataclass(frozen=True, slots=True)
class SealPhoto(Effect):
    """Seal the reviewed photograph into the spool and overwrite its plaintext."""

    photo: Photo


@dataclass(frozen=True, slots=True)
class DropFrame(Effect):
    """Overwrite the reviewed photograph without keeping it."""


@dataclass(frozen=True, slots=True)
class RemovePhoto(Effect):
    """Unlink one sealed photograph of the open session."""

    photo: UUID


@dataclass(frozen=True, slots=True)
class Commit(Effect):
    """Seal the manifest and rename open to ready."""

    session: Session


@dataclass(frozen=True, slots=True)
class CommitRefusal(Effect):
    """Destroy every item of the open session, then commit this record of the refusal alone."""

    session: Session


@dataclass(frozen=True, slots=True)
class Wipe(Effect):
    """Destroy what is not committed, forget everything, answer Wiped."""

    reason: str
