"""The nouns of Lethe, frozen. Nothing here does I/O, and nothing of ours is imported here.

Names are FHIR R4's: Patient, Practitioner, Consent, and so on. All times are aware datetimes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")

Point = tuple[float, float]
"""x and y on the signature pad, each 0..1, origin top left."""
Stroke = tuple[Point, ...]
"""One line drawn without lifting the finger."""


class Sex(Enum):
    """Administrative gender, http://hl7.org/fhir/administrative-gender."""

    FEMALE = "female"
    MALE = "male"
    OTHER = "other"
    UNKNOWN = "unknown"


class Match(Enum):
    """How the patient was found."""

    WRISTBAND = "wristband"
    TYPED = "typed"
    LIST = "list"
    RECEIPT = "receipt"


class Region(Enum):
    """A region of the body that a person can point at. fhir/codes.py maps it to SNOMED CT."""

    HEAD = "head"
    FACE = "face"
    NECK = "neck"
    SHOULDER = "shoulder"
    UPPER_ARM = "upper-arm"
    ELBOW = "elbow"
    FOREARM = "forearm"
    HAND = "hand"
    CHEST = "chest"
    ABDOMEN = "abdomen"
    BACK = "back"
    BUTTOCK = "buttock"
    SACRUM = "sacrum"
    HIP = "hip"
    THIGH = "thigh"
    KNEE = "knee"
    LOWER_LEG = "lower-leg"
    ANKLE = "ankle"
    HEEL = "heel"
    FOOT = "foot"

    @property
    def has_sides(self) -> bool:
        """Whether left or right must be said."""
        return self not in _MIDLINE


_MIDLINE = frozenset(
    {
        Region.HEAD,
        Region.FACE,
        Region.NECK,
        Region.CHEST,
        Region.ABDOMEN,
        Region.BACK,
        Region.SACRUM,
    }
)


class Laterality(Enum):
    """The patient's left or right."""

    LEFT = "left"
    RIGHT = "right"


class Aspect(Enum):
    """Which face of a limb."""

    FRONT = "front"
    BACK = "back"


class Purpose(Enum):
    """What a photograph may be used for. Each is asked on its own."""

    RECORD = "record"
    TEACHING = "teaching"
    RESEARCH = "research"


class Signer(Enum):
    """Who decides: the patient, or a proxy for the patient."""

    PATIENT = "patient"
    PARENT = "parent"
    GUARDIAN = "guardian"
    CARER = "carer"


class Manner(Enum):
    """How a decision was given: on the signature pad, aloud before a witness, or by a clinician."""

    SIGNED = "signed"
    VERBAL = "verbal"
    BEST_INTERESTS = "best-interests"


class Decision(Enum):
    """What was decided about photographs."""

    PERMIT = "permit"
    DENY = "deny"
    WITHDRAWN = "withdrawn"


class Stage(Enum):
    """Where a committed session is on its way into the record."""

    WAITING = "waiting"
    SENDING = "sending"
    PROVING = "proving"
    DELIVERED = "delivered"
    PARKED = "parked"


@dataclass(frozen=True, slots=True)
class HumanName:
    """A name as FHIR splits it."""

    family: str
    given: str = ""
    prefix: str = ""

    def display(self) -> str:
        """FAMILY, Given (Title), as the NHS Common User Interface writes it."""
        text = self.family.upper() or "NOT KNOWN"
        if self.given:
            text += f", {self.given}"
        return f"{text} ({self.prefix})" if self.prefix else text


@dataclass(frozen=True, slots=True)
class Identifier:
    """A business identifier: the system's URI and the value."""

    system: str
    value: str

    def display(self) -> str:
        """Ten-digit numbers are grouped 3-3-4 (ISB 0149); anything else stays as it is."""
        v = self.value
        return f"{v[:3]} {v[3:6]} {v[6:]}" if len(v) == 10 and v.isdigit() else v


@dataclass(frozen=True, slots=True)
class Patient:
    """A patient that a server knows. `id` is the logical id on that server.

    merged_from: the number that was asked for, where its record was merged into this one.
    died: the day, where the record has a whole date.  encounter: the reference (Encounter/...) of the visit
    that the photographs belong to, where there is exactly one.
    """

    id: str
    name: HumanName
    identifier: Identifier
    birth_date: date | None = None
    sex: Sex = Sex.UNKNOWN
    match: Match = Match.WRISTBAND
    merged_from: Identifier | None = None
    deceased: bool = False
    died: date | None = None
    encounter: str | None = None

    def age(self, today: date) -> int | None:
        """Whole years, or None when the birth date is not known."""
        b = self.birth_date
        return None if b is None else today.year - b.year - ((today.month, today.day) < (b.month, b.day))


@dataclass(frozen=True, slots=True)
class Visit:
    """One line of today's list. `at`: when the patient is due or came, aware; `here`: has arrived."""

    at: datetime | None
    here: bool
    patient: Patient


@dataclass(frozen=True, slots=True)
class VisitList:
    """Today's list, each patient once, in order of time. `cut`: there are more than fit into it."""

    visits: tuple[Visit, ...] = ()
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Practitioner:
    """A member of staff. `reference` is a FHIR reference (Practitioner/...) where one is known.

    identifier: what the record server knows this person by; a reference is found by it when the photographs
    are sent.
    """

    id: str
    name: str
    reference: str | None = None
    identifier: Identifier | None = None


@dataclass(frozen=True, slots=True)
class BodySite:
    """Where on the body: region, side where it has one, and face of the limb."""

    region: Region
    laterality: Laterality | None = None
    aspect: Aspect | None = None

    def display(self) -> str:
        """For people, in English: 'Left forearm, front'."""
        words = [self.laterality.value] if self.laterality else []
        words.append(self.region.value.replace("-", " "))
        text = " ".join(words)
        text = text[0].upper() + text[1:]
        return f"{text}, {self.aspect.value}" if self.aspect else text


@dataclass(frozen=True, slots=True)
class Consent:
    """What the person in front of the kiosk decided, and the evidence for it.

    signer_name: the proxy's name where it is known.  witness: who heard a verbal consent.  clinician: who
    decided in the best interests of a patient that cannot; that allows the record purpose and no other.
    Raises ValueError where these contradict one another.
    """

    id: UUID
    decision: Decision
    at: datetime
    text_id: str
    text_version: str
    language: str
    choices: tuple[tuple[Purpose, bool], ...] = ()
    signer: Signer = Signer.PATIENT
    strokes: tuple[Stroke, ...] = ()
    signer_name: str = ""
    manner: Manner = Manner.SIGNED
    witness: Practitioner | None = None
    clinician: Practitioner | None = None

    def __post_init__(self) -> None:
        """Refuse what no form could say."""
        if (self.manner is Manner.VERBAL) != (self.witness is not None):
            raise ValueError("a verbal consent, and no other, has a witness")
        if (self.manner is Manner.BEST_INTERESTS) != (self.clinician is not None):
            raise ValueError("a best-interests decision, and no other, has a clinician")
        if self.manner is not Manner.SIGNED and self.strokes:
            raise ValueError("only a signed consent has a signature")
        if self.manner is Manner.BEST_INTERESTS and any(
            p is not Purpose.RECORD for p, yes in self.choices if yes
        ):
            raise ValueError("a best-interests decision allows the record purpose only")
        if self.signer_name and self.proxy is None:
            raise ValueError("only a proxy has a name of its own")

    @property
    def proxy(self) -> Signer | None:
        """Who decided for the patient, where it was neither the patient nor a clinician."""
        by_proxy = self.signer is not Signer.PATIENT and self.manner is not Manner.BEST_INTERESTS
        return self.signer if by_proxy else None

    def to_json(self) -> bytes:
        """Serialise for sealing."""
        return _adapter(Consent).dump_json(self)

    def permits(self, purpose: Purpose) -> bool:
        """Whether this purpose was agreed to."""
        return self.decision is Decision.PERMIT and dict(self.choices).get(purpose, False)

    def evidence(self, patient: Patient, operator: Practitioner, station: str) -> str:
        """SHA-256 (hex) over everything that makes this consent this consent."""
        facts = [
            str(self.id),
            self.decision.value,
            self.at.isoformat(),
            self.text_id,
            self.text_version,
            self.language,
            [[p.value, yes] for p, yes in self.choices],
            self.signer.value,
            self.signer_name,
            self.manner.value,
            self.witness.id if self.witness else None,
            self.clinician.id if self.clinician else None,
            self.strokes,
            patient.id,
            operator.id,
            station,
        ]
        return hashlib.sha256(json.dumps(facts, separators=(",", ":")).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Verdict:
    """One quality gate's answer: `word` is what the screen says."""

    gate: str
    value: float
    good: bool
    word: str


@dataclass(frozen=True, slots=True)
class Photo:
    """A photograph that was kept. `id` was minted when the shutter went down."""

    id: UUID
    number: int
    taken_at: datetime
    site: BodySite
    frame: int
    width: int
    height: int
    size: int
    sha256: str
    verdicts: tuple[Verdict, ...] = ()


PHOTOS_MAX = 20
"""Photographs of one session: what its part of the spool is laid out for."""
PHOTO_BYTES_PER_PIXEL = 0.5
"""What a photograph is reckoned at. Real scenes at quality 93 take 0.2 to 0.45."""


@dataclass(frozen=True, slots=True)
class Session:
    """One patient, one operator, one consent, any number of photographs: what Send seals.

    A refusal or a withdrawal is a Session without photographs.
    """

    id: UUID
    station: str
    patient: Patient
    operator: Practitioner
    consent: Consent
    photos: tuple[Photo, ...]
    committed_at: datetime

    def to_json(self) -> bytes:
        """Serialise for sealing."""
        return _adapter(Session).dump_json(self)

    @classmethod
    def from_json(cls, data: bytes | bytearray) -> Session:
        """Parse what `to_json` made. Raises ValueError that names places and kinds, no values."""
        adapter: TypeAdapter[Session] = _adapter(Session)
        return _parsed(adapter, data)


class Act(Enum):
    """What can be done about a session that is in the record already, by its receipt."""

    WITHDRAW = "withdraw"
    WRONG_PATIENT = "wrong-patient"


@dataclass(frozen=True, slots=True)
class FiledConsent:
    """One Consent that the record holds under a receipt. `id`: its logical id on that server."""

    id: str
    purpose: Purpose
    permits: bool
    active: bool


@dataclass(frozen=True, slots=True)
class Filed:
    """What the record holds under one receipt, as it was when the operator looked.

    photos, forms and proxies are logical ids: of the DocumentReferences of the photographs, of other
    DocumentReferences, and of RelatedPersons.  in_error: how many of the photographs are entered in error.
    retracted: everything is, the form too.
    """

    receipt: str
    patient: Patient
    at: datetime | None
    operator: str
    photos: tuple[str, ...]
    forms: tuple[str, ...]
    consents: tuple[FiledConsent, ...]
    proxies: tuple[str, ...] = ()
    in_error: int = 0
    retracted: bool = False

    def choice(self, purpose: Purpose) -> bool | None:
        """What is in force for this purpose, or None where nothing is."""
        found = [c.permits for c in self.consents if c.purpose is purpose and c.active]
        return all(found) if found else None

    def permitted(self) -> tuple[Purpose, ...]:
        """The purposes that can still be withdrawn."""
        return tuple(p for p in Purpose if self.choice(p))

    def to_json(self) -> bytes:
        """Serialise for the way from the look-up process to the screen."""
        return _adapter(Filed).dump_json(self)

    @classmethod
    def from_json(cls, data: bytes | str) -> Filed:
        """Inverse of to_json. Raises ValueError that names places and kinds, no values."""
        adapter: TypeAdapter[Filed] = _adapter(Filed)
        return _parsed(adapter, data)


@dataclass(frozen=True, slots=True)
class Correction:
    """A withdrawal or a wrong-patient correction by receipt: a session of its own, without photographs.

    purposes: what is withdrawn; empty for a wrong patient.  retracts: whether a withdrawal of the record
    purpose marks the photographs as entered in error (site policy, as the operator was told it).
    """

    id: UUID
    station: str
    operator: Practitioner
    act: Act
    filed: Filed
    purposes: tuple[Purpose, ...]
    retracts: bool
    at: datetime

    def to_json(self) -> bytes:
        """Serialise for sealing."""
        return _adapter(Correction).dump_json(self)

    @classmethod
    def from_json(cls, data: bytes | bytearray) -> Correction:
        """Inverse of to_json. Raises ValueError that names places and kinds, no values."""
        adapter: TypeAdapter[Correction] = _adapter(Correction)
        return _parsed(adapter, data)

    @property
    def withdrawn(self) -> tuple[FiledConsent, ...]:
        """The Consents that stop being in force."""
        if self.act is Act.WRONG_PATIENT:
            return ()
        return tuple(c for c in self.filed.consents if c.active and c.permits and c.purpose in self.purposes)

    @property
    def retracted_photos(self) -> tuple[str, ...]:
        """The photographs that are marked as entered in error, by logical id."""
        whole = self.act is Act.WRONG_PATIENT or (self.retracts and Purpose.RECORD in self.purposes)
        return self.filed.photos if whole else ()


def _parsed(adapter: TypeAdapter[T], data: bytes | bytearray | str) -> T:
    from pydantic import ValidationError

    try:
        return adapter.validate_json(data)
    except ValidationError as e:
        faults = [f"{'.'.join(map(str, f['loc']))}: {f['type']}" for f in e.errors(include_input=False)]
    # Raised outside the except block: pydantic's error carries patient data and must not be chained.
    raise ValueError("; ".join(faults))


@cache
def _adapter(noun: type[T]) -> TypeAdapter[T]:
    from pydantic import TypeAdapter

    return TypeAdapter(noun)


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof of delivery. It holds no patient data."""

    id: str
    session: UUID
    photos: int
    destination: str
    delivered_at: datetime


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """What the status bar shows, told by the uploader.

    waiting: committed sessions not yet proven; parked: sessions that need a person;
    online: the record server was reachable a moment ago (None: not tried yet).
    """

    waiting: int = 0
    parked: int = 0
    online: bool | None = None
    clock_set: bool = True
    uploader: bool = True
