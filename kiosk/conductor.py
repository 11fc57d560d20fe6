"""Carries out the workflow's effects, one after the other, on a worker thread, and answers with events.

The drawing thread only calls `perform` and the picture getters; none of them waits.
"""

from __future__ import annotations

import base64
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt

from kiosk import events as e
from kiosk.capture import CaptureService, PreviewFrame, Still
from kiosk.errors import (
    CameraGone,
    CameraHung,
    KioskError,
    LinkError,
    Problem,
    SessionGone,
    SignInError,
    SpoolFull,
)
from kiosk.journal import Journal
from kiosk.link import Caller, Message
from kiosk.lookup import list_from_message, patient_from_message
from kiosk.model import Consent, Correction, Filed, Identifier, Photo, Practitioner, Session, Verdict
from kiosk.seal import Cipher, Kind, PublicKey, SealHeader, choose_suite, seal_parts
from kiosk.spool import Outbox
from kiosk.uplink import Inbox, Uplink

Pixels = npt.NDArray[np.uint8]

SIGN_IN_S = 15.0
LOOKUP_S = 20.0
LIST_S = 25.0
THUMBNAIL = 160
"""Longest side of a thumbnail, pixels."""

_LASTING = (CameraGone, CameraHung, SessionGone)
"""Errors that a hint on the same screen does not do justice to."""


@dataclass(slots=True)
class SessionKey:
    """What the uploader issued for this session: it seals, and cannot open."""

    session: UUID
    public: PublicKey
    cipher: Cipher


class Conductor:
    """One instance a ui process."""

    def __init__(
        self,
        *,
        inbox: Inbox,
        uplink: Uplink,
        spool: Outbox,
        capture: CaptureService,
        light: Callable[[bool], None],
        journal: Journal,
    ) -> None:
        self._inbox = inbox
        self._uplink = uplink
        self._spool = spool
        self._capture = capture
        self._light = light
        self._journal = journal
        self._work: queue.SimpleQueue[e.Effect | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="conductor", daemon=True)
        self._key: SessionKey | None = None
        self._lookup: Caller | None = None
        self._listing = False
        self._begun = self._handed_over = False
        self._still: Still | None = None
        self._thumbnails: dict[UUID, Pixels] = {}

    # --- for the drawing thread ---------------------------------------------------------------

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self) -> None:
        """Finish what is queued, then end."""
        self._work.put(None)
        self._thread.join(30)

    def use_key(self, key: SessionKey) -> None:
        """Seal to this key from now on. The sign-in does it; a measurement may."""
        self._key = key
        self._handed_over = False

    def perform(self, effect: e.Effect) -> None:
        """Queue an effect. A wipe ends a look-up that waits for a slow server, a scan ends a slow list."""
        lookup = self._lookup
        ends = isinstance(effect, e.Wipe) or (isinstance(effect, e.FindPatient) and self._listing)
        if ends and lookup is not None:
            lookup.close()
        self._work.put(effect)

    def preview(self) -> PreviewFrame | None:
        """The newest live frame."""
        return self._capture.latest()

    def live_verdicts(self) -> tuple[Verdict, ...]:
        """The quality gates on the live picture."""
        return self._capture.live_verdicts()

    def review_image(self) -> Pixels | None:
        """The picture that waits for keep or retake."""
        still = self._still
        return None if still is None else still.review

    def thumbnail(self, photo: UUID) -> Pixels | None:
        """A small picture of a kept photograph of this session."""
        return self._thumbnails.get(photo)

    # --- the worker -----------------------------------------------------------------------------

    def _run(self) -> None:
        while self._do_next():
            continue

    def _do_next(self) -> bool:
        """Carry out one effect. A call of its own: an effect that waits for the next one holds a patient."""
        effect = self._work.get()
        if effect is None:
            return False
        try:
            self._carry_out(effect)
        except SignInError as error:
            self._inbox.put(e.SignInRefused(error.problem, error.tries_left))
        except KioskError as error:
            if isinstance(effect, e.Wipe):
                # A wipe that cannot be done is done by the end of this process.
                raise
            self._fail(effect, error)
        return True

    def _fail(self, effect: e.Effect, error: KioskError) -> None:
        self._journal.say("effect-failed", kind=_kind(effect), problem=error.problem.code)
        if isinstance(effect, e.CheckBadge | e.CheckPin):
            self._inbox.put(e.SignInRefused(error.problem))
        elif isinstance(effect, e.TellMatch):
            # Said for the audit alone: nobody waits for it, and nothing is lost with it but that line.
            return
        elif isinstance(effect, e.ListVisits) and error.problem is not Problem.SESSION_GONE:
            self._inbox.put(e.ListFailed(_list_problem(error)))
        elif isinstance(effect, e.Commit | e.CommitRefusal | e.CommitCorrection) and not isinstance(
            error, SessionGone
        ):
            self._inbox.put(e.Failed(Problem.COMMIT_FAILED))
        else:
            # What the uploader says comes as a plain KioskError with its problem.
            lasting = isinstance(error, _LASTING) or error.problem is Problem.SESSION_GONE
            self._inbox.put(e.Failed(error.problem, lasting=lasting))

    def _carry_out(self, effect: e.Effect) -> None:
        match effect:
            case e.CheckBadge(badge):
                name = self._uplink.ask("badge", badge=badge)["name"]
                self._inbox.put(e.BadgeAccepted(badge, name))
            case e.CheckPin(badge, pin):
                self._sign_in(badge, pin)
            case e.FindPatient(identifier, typed):
                self._find(identifier, typed)
            case e.ListVisits():
                self._list()
            case e.TellMatch(match):
                self._uplink.ask("match", session=str(self._require().session), match=match.value)
            case e.FindReceipt(receipt):
                self._find_receipt(receipt)
            case e.CommitCorrection(correction):
                self._commit_correction(correction)
            case e.RecordConsent(consent):
                self._record(consent)
            case e.OpenCamera(consent):
                self._capture.open(consent)
            case e.CloseCamera():
                self._capture.close()
                self._light(False)
            case e.SetLight(on):
                self._light(on)
            case e.TakePhoto():
                self._take(effect)
            case e.SealPhoto(photo):
                self._seal(photo)
            case e.DropFrame():
                self._drop()
            case e.RemovePhoto(photo_id):
                self._remove(photo_id)
            case e.Commit(session):
                self._commit(session)
            case e.CommitRefusal(session):
                self._commit_refusal(session)
            case e.Wipe(reason):
                self._wipe(reason)

    def _sign_in(self, badge: str, pin: str) -> None:
        answer, lookup = self._uplink.ask_for_socket("sign-in", timeout=SIGN_IN_S, badge=badge, pin=pin)
        session = UUID(answer["session"])
        public = PublicKey.from_bytes(base64.b64decode(answer["public_key"]))
        self.use_key(SessionKey(session, public, choose_suite(answer["suite"])))
        self._lookup = lookup
        self._uplink.watch(session)
        who = answer["operator"]
        number = who["identifier"]
        identifier = Identifier(number["system"], number["value"]) if number else None
        operator = Practitioner(who["id"], who["name"], who["reference"], identifier)
        self._inbox.put(e.SignedIn(operator, session))

    def _find(self, identifier: str, typed: bool) -> None:
        answer = self._ask_lookup("find", LOOKUP_S, identifier=identifier, typed=typed)
        found = tuple(patient_from_message(p) for p in answer["patients"])
        self._inbox.put(e.PatientsFound(found))

    def _list(self) -> None:
        self._listing = True
        try:
            answer = self._ask_lookup("list", LIST_S)
        finally:
            self._listing = False
        self._inbox.put(e.VisitsListed(list_from_message(answer)))

    def _find_receipt(self, receipt: str) -> None:
        self._uplink.ask("receipt", session=str(self._require().session), receipt=receipt)
        answer = self._ask_lookup("find-receipt", LOOKUP_S, receipt=receipt)
        try:
            filed = Filed.from_json(answer["filed"])
        except ValueError:
            raise KioskError("not what is filed", problem=Problem.LOOKUP_REFUSED) from None
        self._inbox.put(e.ReceiptFound(filed))

    def _ask_lookup(self, op: str, timeout: float, **arguments: Any) -> Message:
        if self._lookup is None or not self._lookup.alive:
            # Its process died with an uploader that was restarted: the new one starts another.
            _, self._lookup = self._uplink.ask_for_socket(
                "directory", timeout=SIGN_IN_S, session=str(self._require().session)
            )
        lookup = self._lookup
        try:
            return lookup.ask(op, timeout=timeout, **arguments)
        except LinkError:
            # It may still wait for a slow server: the next question gets a process of its own.
            self._lookup.close()
            raise KioskError("look-up process silent", problem=Problem.LOOKUP_UNREACHABLE) from None

    def _record(self, consent: Consent) -> None:
        key = self._require()
        if not self._begun:
            self._spool.begin(key.session)
            self._begun = True
        self._add(key, consent.id, Kind.CONSENT, 0, consent.to_json())
        self._journal.say("consent-recorded", session=key.session)
        self._inbox.put(e.ConsentRecorded(consent))

    def _take(self, effect: e.TakePhoto) -> None:
        self._drop()
        still = self._capture.take(effect.frame)
        self._still = still
        photo = Photo(
            id=effect.photo,
            number=effect.number,
            taken_at=effect.at,
            site=effect.site,
            frame=still.frame,
            width=still.width,
            height=still.height,
            size=still.size,
            sha256=still.sha256,
            verdicts=still.verdicts,
        )
        self._journal.say("captured", item=photo.id, number=photo.number, frame=photo.frame, bytes=photo.size)
        self._inbox.put(e.Captured(photo))

    def _seal(self, photo: Photo) -> None:
        key = self._require()
        still = self._still
        if still is None:
            raise KioskError("no frame to seal", problem=Problem.SEAL_FAILED)
        try:
            size = self._add(key, photo.id, Kind.PHOTO, photo.number, still.jpeg)
        except SpoolFull as full:
            raise SpoolFull(full.detail, problem=Problem.SESSION_FULL) from None
        self._thumbnails[photo.id] = _thumbnail(still.review)
        self._drop()
        self._journal.say("sealed", session=key.session, item=photo.id, number=photo.number, bytes=size)
        self._inbox.put(e.Sealed(photo))

    def _drop(self) -> None:
        still, self._still = self._still, None
        if still is not None:
            still.wipe()

    def _forget_pictures(self) -> None:
        self._drop()
        # Away before they are overwritten: nobody shall draw a black one.
        pictures, self._thumbnails = self._thumbnails, {}
        for picture in pictures.values():
            picture.fill(0)

    def _end_lookup(self) -> None:
        lookup, self._lookup = self._lookup, None
        if lookup is not None:
            lookup.close()

    def _remove(self, photo: UUID) -> None:
        self._spool.remove(self._require().session, photo)
        picture = self._thumbnails.pop(photo, None)
        if picture is not None:
            picture.fill(0)
        self._journal.say("removed", item=photo)
        self._inbox.put(e.Removed(photo))

    def _commit(self, session: Session) -> None:
        key = self._require()
        self._add(key, session.id, Kind.MANIFEST, 0, session.to_json())
        self._hand_over(session.id, session.consent.decision.value, len(session.photos))

    def _commit_refusal(self, session: Session) -> None:
        key = self._require()
        if self._handed_over:
            raise SessionGone("this session was committed already")
        self._forget_pictures()
        if self._begun:
            self._spool.clear(key.session)
            self._journal.say("destroyed", session=key.session, reason=session.consent.decision.value)
        else:
            self._spool.begin(key.session)
            self._begun = True
        self._add(key, session.id, Kind.MANIFEST, 0, session.to_json())
        self._hand_over(session.id, session.consent.decision.value, 0)

    def _commit_correction(self, correction: Correction) -> None:
        key = self._require()
        if self._handed_over:
            raise SessionGone("this session was committed already")
        if not self._begun:
            self._spool.begin(key.session)
            self._begun = True
        self._add(key, correction.id, Kind.CORRECTION, 0, correction.to_json())
        photos = len(correction.retracted_photos)
        self._hand_over(correction.id, correction.act.value, photos, receipt=correction.filed.receipt)

    def _hand_over(self, session: UUID, decision: str, photos: int, **more: Any) -> None:
        """Rename to ready: the commit point. The uploader finds it even if it cannot be told now."""
        self._spool.commit(session)
        self._begun = False
        self._handed_over = True
        self._uplink.watch(session, committed=True)
        self._journal.say("committed", session=session, kind=decision, photos=photos)
        self._inbox.put(e.Committed())
        # What is committed is not seen here again: the receipt needs no picture, and looks nobody up.
        self._forget_pictures()
        self._end_lookup()
        try:
            self._uplink.ask("commit", session=str(session), decision=decision, photos=photos, **more)
        except KioskError:
            # It looks into the spool by itself; nothing that it says now can undo the rename.
            self._journal.say("commit-untold", session=session)

    def _wipe(self, reason: str) -> None:
        self._capture.close()
        self._light(False)
        self._forget_pictures()
        key, self._key = self._key, None
        self._end_lookup()
        if key is not None:
            if self._begun:
                self._spool.destroy(key.session)
                self._begun = False
            self._uplink.watch(None)
            self._tell_end(key.session)
        self._journal.say("ui-wiped", reason=reason)
        self._inbox.put(e.Wiped())

    def _tell_end(self, session: UUID) -> None:
        try:
            self._uplink.ask("end", session=str(session))
        except KioskError:
            # It destroys what lost its ui by itself.
            self._journal.say("end-untold", session=session)

    def _require(self) -> SessionKey:
        if self._key is None:
            raise SessionGone("no key was issued")
        return self._key

    def _add(self, key: SessionKey, item: UUID, kind: Kind, number: int, plaintext: bytes | bytearray) -> int:
        parts = seal_parts(key.public, SealHeader(key.session, item, kind, number), plaintext, key.cipher)
        self._spool.add(key.session, number, kind.value, item, parts)
        return sum(len(part) for part in parts)


def _thumbnail(review: Pixels) -> Pixels:
    step = max(1, max(review.shape[:2]) // THUMBNAIL)
    return review[::step, ::step].copy()


def _list_problem(error: KioskError) -> Problem:
    """A silent look-up process is told of as the list, which is what was asked for."""
    return Problem.LIST_UNREACHABLE if error.problem is Problem.LOOKUP_UNREACHABLE else error.problem


def _kind(effect: e.Effect) -> str:
    name = type(effect).__name__
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in name).lstrip("-")
