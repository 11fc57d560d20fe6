"""One tree of errors, and the sentences that people read.

    KioskError                  .problem says which sentence; .detail is for the journal, never patient data
    ├── ConfigError             kiosk.toml or the staff file is wrong; carries every complaint
    ├── ClockError              the clock is not set
    ├── LinkError               ui and uploader cannot talk
    ├── SignInError             badge or PIN refused; carries the tries that are left
    ├── LookupFailed            the patient look-up did not answer
    ├── CameraError
    │   ├── CameraBusy          another process holds it
    │   ├── CameraHung          a call missed its deadline
    │   ├── CameraGone          unplugged
    │   └── FrameGone           the asked frame has left the ring
    ├── SealError
    │   └── CannotOpen          tampered, moved, renamed, or another session's key
    ├── SpoolError
    │   ├── SpoolNotRam         the directory is not on tmpfs or ramfs
    │   ├── SpoolFull           no room; refused before, never in the middle of a write
    │   └── SessionGone         the session directory is not there any more
    └── DeliveryError           .retryable says whether trying again can help
        ├── Unreachable         nothing was heard: retry
        ├── ServerBusy          408, 425, 429, 5xx: retry after .retry_after seconds
        ├── NotLetIn            401, 403, a login page, a bad certificate: retry until IT has mended it
        ├── Rejected            a 4xx that will never pass: park
        ├── NotProven           2xx, but the read-back differs: park
        │   └── NotThere        ... because what a document leads to is not there
        └── Conflict            several resources with one identifier: park

Every sentence is written for the person in front of the screen: what happened, what to do.
"""

from __future__ import annotations

from enum import Enum


class Problem(Enum):
    """A thing that can go wrong, with a stable code and the sentence an operator reads."""

    BADGE_UNKNOWN = ("badge-unknown", "This badge is not known here. Ask IT to add it.")
    BADGE_UNREADABLE = ("badge-unreadable", "That was not a badge. Scan your staff badge again.")
    PIN_WRONG = ("pin-wrong", "That PIN is wrong. Try again.")
    LOCKED_OUT = (
        "locked-out",
        "Too many wrong PINs. This badge is locked for a while. Ask a colleague or IT.",
    )
    CLOCK_NOT_SET = (
        "clock-not-set",
        "The clock is not set, so consent could not be dated. Check the network, then try again.",
    )
    SPOOL_FULL = (
        "spool-full",
        "No room for another patient. Photographs wait to be sent. Keep the power on; call IT.",
    )
    SESSION_FULL = (
        "session-full",
        "This set of photographs is full. Finish and send it, then start another.",
    )
    UPLOADER_AWAY = (
        "uploader-away",
        "The kiosk is restarting a part of itself. Wait a few seconds and try again.",
    )
    SCAN_UNREADABLE = (
        "scan-unreadable",
        "That scan was not a patient identifier. Scan the wristband again or type the number.",
    )
    PATIENT_UNKNOWN = (
        "patient-unknown",
        "No patient has this number. Check the wristband or type the number.",
    )
    PATIENT_AMBIGUOUS = (
        "patient-ambiguous",
        "Two patients share this number. Take no photographs; call the records desk.",
    )
    PATIENT_INACTIVE = (
        "patient-inactive",
        "This number's record is closed. Take no photographs; call the records desk.",
    )
    PATIENT_MERGE_BROKEN = (
        "patient-merge-broken",
        "This number's record was merged into one that cannot be found. Call the records desk.",
    )
    LIST_UNREACHABLE = (
        "list-unreachable",
        "Today's list cannot be reached. Scan the wristband, type the number, or try again.",
    )
    LIST_REFUSED = (
        "list-refused",
        "The record server gives no list for this place. Scan the wristband or type the number.",
    )
    LOOKUP_UNREACHABLE = (
        "lookup-unreachable",
        "The patient list cannot be reached. Check the network and try again.",
    )
    LOOKUP_REFUSED = (
        "lookup-refused",
        "The patient list refused the question. Call IT.",
    )
    RECEIPT_UNREADABLE = (
        "receipt-unreadable",
        "That is not a receipt number. It looks like R-7K4M-2QHD. Type it again.",
    )
    RECEIPT_UNKNOWN = (
        "receipt-unknown",
        "The record has nothing under this receipt. Check the number, then type it again.",
    )
    RECEIPT_ELSEWHERE = (
        "receipt-elsewhere",
        "This receipt belongs to another record server. Correct it there, or call IT.",
    )
    RECEIPT_AMBIGUOUS = (
        "receipt-ambiguous",
        "Two sets of photographs share this receipt. Change nothing here; call IT.",
    )
    RECEIPT_WAITING = (
        "receipt-waiting",
        "These photographs still wait in this kiosk and are not in the record. Try again later.",
    )
    CONSENT_CHOICE_MISSING = ("consent-choice-missing", "Choose Yes or No for every purpose.")
    CONSENT_SIGNATURE_MISSING = ("consent-signature-missing", "A signature is needed to agree.")
    CONSENT_NOT_RECORDED = (
        "consent-not-recorded",
        "Consent could not be recorded. Nothing was photographed. Try again.",
    )
    NO_CONSENT = ("no-consent", "The camera stays closed: no consent is recorded.")
    CAMERA_BUSY = ("camera-busy", "Another program holds the camera. Restart the kiosk or call IT.")
    CAMERA_HUNG = (
        "camera-hung",
        "The camera does not answer. It is being restarted; then press again.",
    )
    CAMERA_GONE = (
        "camera-gone",
        "The camera is unplugged. Check its cable. Photographs already kept are safe.",
    )
    FRAME_GONE = ("frame-gone", "That picture was lost. Hold still and press again.")
    SEAL_FAILED = (
        "seal-failed",
        "The photograph could not be sealed and was not kept. Take it again.",
    )
    CANNOT_OPEN = ("cannot-open", "A sealed item was changed or is not ours. It was not sent.")
    SPOOL_NOT_RAM = (
        "spool-not-ram",
        "Photographs could reach a disk on this kiosk, so it takes none. Call IT.",
    )
    SESSION_GONE = (
        "session-gone",
        "This session was destroyed because a part of the kiosk restarted. Nothing was sent.",
    )
    COMMIT_FAILED = ("commit-failed", "Not sent yet. Try again.")
    UNREACHABLE = ("unreachable", "The record server cannot be reached. Waiting to try again.")
    SERVER_BUSY = ("server-busy", "The record server is busy. Waiting to try again.")
    REJECTED = ("rejected", "The record server refused what was sent. Call IT; keep power on.")
    NOT_PROVEN = (
        "not-proven",
        "The record server gave back something else than was sent. Call IT; keep power on.",
    )
    NOT_LET_IN = (
        "not-let-in",
        "The record server does not let this kiosk in. Call IT; keep power on. It is tried again.",
    )
    CERTIFICATE = (
        "certificate",
        "The record server's certificate is not accepted. Call IT; keep power on. It is tried again.",
    )
    CLIENT_CERTIFICATE = (
        "client-certificate",
        "The record server does not accept this kiosk's certificate. Call IT; keep power on.",
    )
    CLOCK_DIFFERS = (
        "clock-differs",
        "The kiosk's clock and the record server's differ. Call IT; keep power on. It is tried again.",
    )
    DELIVERY_INTERRUPTED = (
        "delivery-interrupted",
        "Sending was interrupted. It is tried again by itself; keep power on.",
    )
    REFUSAL_NOT_RECORDED = (
        "refusal-not-recorded",
        "The patient's refusal could not be recorded here. Please record it yourself.",
    )
    CONFLICT = (
        "conflict",
        "The record server already holds a different copy. Call IT; keep power on.",
    )
    KEY_LOST = (
        "key-lost",
        "The key of these photographs is gone, so they cannot be opened by anyone.",
    )
    CONFIG = ("config", "The configuration is wrong. Call IT.")
    INTERNAL = ("internal", "Something unexpected went wrong. Nothing was sent. Sign in again.")
    IDLE = ("idle", "Locked because nobody touched the screen. Nothing was sent.")
    IDLE_DESTROYED = (
        "idle-destroyed",
        "Locked because nobody touched the screen. Photographs that were not sent are destroyed.",
    )
    UI_RESTARTED = (
        "ui-restarted",
        "The screen restarted. Photographs that were not sent with Send are destroyed.",
    )

    def __init__(self, code: str, sentence: str) -> None:
        self.code = code
        self.sentence = sentence

    @classmethod
    def from_code(cls, code: str) -> Problem:
        """Return the problem with this stable code; unknown codes become INTERNAL."""
        return next((p for p in cls if p.code == code), cls.INTERNAL)


class KioskError(Exception):
    """Base of every error that Lethe raises on purpose.

    problem: which sentence people read.  detail: for the journal; never holds patient data.
    """

    problem: Problem = Problem.INTERNAL
    retryable: bool = False

    def __init__(self, detail: str = "", *, problem: Problem | None = None) -> None:
        if problem is not None:
            self.problem = problem
        self.detail = detail
        super().__init__(f"{self.problem.code}: {detail}" if detail else self.problem.code)


class ConfigError(KioskError):
    """A configuration file is wrong. `complaints` holds every fault found, one a line."""

    problem = Problem.CONFIG

    def __init__(self, complaints: tuple[str, ...]) -> None:
        self.complaints = complaints
        super().__init__("\n".join(complaints))


class ClockError(KioskError):
    """The clock is not set, so nothing may be dated."""

    problem = Problem.CLOCK_NOT_SET


class LinkError(KioskError):
    """The other process did not answer, or answered nonsense."""

    problem = Problem.UPLOADER_AWAY
    retryable = True


class SignInError(KioskError):
    """Badge or PIN refused. `tries_left` is None where it does not apply."""

    problem = Problem.PIN_WRONG

    def __init__(self, problem: Problem, tries_left: int | None = None) -> None:
        self.tries_left = tries_left
        super().__init__(problem=problem)


class LookupFailed(KioskError):
    """The patient look-up did not answer, or refused."""

    problem = Problem.LOOKUP_UNREACHABLE
    retryable = True


class CameraError(KioskError):
    """Base of what a camera can do wrong."""

    problem = Problem.CAMERA_GONE


class CameraBusy(CameraError):
    """Another process holds the camera."""

    problem = Problem.CAMERA_BUSY


class CameraHung(CameraError):
    """A camera call missed its deadline."""

    problem = Problem.CAMERA_HUNG


class CameraGone(CameraError):
    """The camera is unplugged."""

    problem = Problem.CAMERA_GONE


class FrameGone(CameraError):
    """The asked frame is no longer held by the camera."""

    problem = Problem.FRAME_GONE


class SealError(KioskError):
    """Sealing failed; the plaintext was not kept."""

    problem = Problem.SEAL_FAILED


class CannotOpen(SealError):
    """Tampered, moved, renamed, cut short, or sealed to another key."""

    problem = Problem.CANNOT_OPEN


class SpoolError(KioskError):
    """The spool could not do what was asked; what was in it is unharmed."""

    problem = Problem.SEAL_FAILED


class SpoolNotRam(SpoolError):
    """The spool directory is not on tmpfs or ramfs."""

    problem = Problem.SPOOL_NOT_RAM


class SpoolFull(SpoolError):
    """There is no room; nothing was written."""

    problem = Problem.SPOOL_FULL


class SessionGone(SpoolError):
    """The session's directory is not where the caller needs it."""

    problem = Problem.SESSION_GONE


class DeliveryError(KioskError):
    """A delivery did not end in proof."""

    problem = Problem.REJECTED


class Unreachable(DeliveryError):
    """Nothing was heard from the server; the outcome is unknown, so probe before sending again."""

    problem = Problem.UNREACHABLE
    retryable = True


class ServerBusy(DeliveryError):
    """408, 425, 429, 500, 502-504. `retry_after` in seconds where the server said one."""

    problem = Problem.SERVER_BUSY
    retryable = True

    def __init__(self, detail: str = "", *, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(detail)


class NotLetIn(DeliveryError):
    """401, 403, or something that is not this FHIR server: IT mends it, and the session is tried again."""

    problem = Problem.NOT_LET_IN
    retryable = True


class Rejected(DeliveryError):
    """An answer that will never become a yes: the session is parked.

    status: the HTTP status, of the answer or of an entry in it; 0 where it was not one that said no.
    """

    problem = Problem.REJECTED
    status = 0


class NotProven(DeliveryError):
    """The server said yes, but what it gives back is not what was sent: the session is parked."""

    problem = Problem.NOT_PROVEN


class NotThere(NotProven):
    """A document is in the record, but what it leads to is not there."""


class Conflict(DeliveryError):
    """Several resources carry one identifier (409, 412): the session is parked."""

    problem = Problem.CONFLICT
