"""The consent form as one A4 page: what was shown, what was answered, who signed, and the proof of it.

The same session always gives the same bytes, so a form that was read back can be compared with a fresh one.
Text is searchable, fonts are embedded, the signature is drawn as lines. Lengths are millimetres.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from fpdf.enums import StrokeCapStyle, StrokeJoinStyle

from kiosk.consent_text import ConsentText
from kiosk.model import Decision, Manner, Session, Sex, Signer, Stroke
from kiosk.page import BLUE, GREEN, LEFT, LINE, NAVY, PALE, QUIET, RED, RIGHT, TEXT, WHITE, Colour, Page
from kiosk.receipts import receipt_id

PAD = (96.0, 48.0)
"""The signature's field; the pad's coordinates run from 0 to 1 both ways."""

NHS_NUMBER = "https://fhir.nhs.uk/Id/nhs-number"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_OUTCOMES: dict[Decision, tuple[str, str, Colour]] = {
    Decision.PERMIT: ("Consent to photographs", "Consent given", GREEN),
    Decision.DENY: ("Photographs declined", "Declined", RED),
    Decision.WITHDRAWN: ("Consent to photographs withdrawn", "Withdrawn", RED),
}
_SIGNERS = {
    Signer.PATIENT: "the patient",
    Signer.PARENT: "a parent, for the patient",
    Signer.GUARDIAN: "a guardian, for the patient",
    Signer.CARER: "a carer, for the patient",
}


def consent_form_pdf(session: Session, station_name: str, wording: ConsentText) -> bytes:
    """The signed form, or the record of a refusal or withdrawal, as PDF."""
    form = Page(session.consent.at, wording.language)
    _heading(form, session, station_name)
    _banner(form, session)
    _shown(form, session, wording)
    _answers(form, session, wording)
    _signature(form, session, wording)
    _facts(form, session, station_name)
    return bytes(form.output())


def _heading(form: Page, session: Session, station_name: str) -> None:
    title, outcome, colour = _OUTCOMES[session.consent.decision]
    if session.consent.manner is Manner.BEST_INTERESTS and session.consent.decision is Decision.PERMIT:
        # Nobody consented: the page must not look as if somebody had.
        outcome, colour = "Best interests", BLUE
    form.set_title(title)
    form.set_fill_color(*NAVY)
    form.rect(0, 0, 210, 27, style="F")
    form.put(LEFT, 14, title, 19, bold=True, colour=WHITE)
    form.put(LEFT, 21, f"Clinical photography, {station_name}", 9.5, colour=(205, 216, 230))
    form.set_font("Form", "B", 11)
    width = form.get_string_width(form.printable(outcome)) + 10
    form.set_fill_color(*WHITE)
    form.rect(RIGHT - width, 8, width, 10, style="F", round_corners=True, corner_radius=2)
    form.put(RIGHT - width + 5, 14.4, outcome, 11, bold=True, colour=colour)


def _banner(form: Page, session: Session) -> None:
    """The patient as the NHS Common User Interface writes it: name, born, sex, number."""
    patient = session.patient
    name = patient.name.display()
    absent = form.missing(name)
    form.set_xy(LEFT + 6, 36)
    top = form.y - 3
    form.words(name, 16, bold=True)
    form.set_y(form.y + 1.5)
    x, y = LEFT + 6, form.y + 4
    number = "NHS No." if patient.identifier.system == NHS_NUMBER else "Patient No."
    born = _day(patient.birth_date) if patient.birth_date else "not known"
    sex = patient.sex.value.capitalize() if patient.sex is not Sex.UNKNOWN else "not known"
    for label, value in (("Born", born), ("Sex", sex), (number, patient.identifier.display())):
        x += form.put(x, y, label, 9.5, colour=QUIET) + 1.5
        x += form.put(x, y, value, 11, bold=True) + 9
    if absent:
        form.set_xy(LEFT + 6, y + 3)
        note = (
            f"The name holds characters that this form cannot print: {' '.join(absent)}. The number counts."
        )
        form.words(note, 8.5, colour=QUIET)
        y = form.y - 3
    bottom = y + 5
    form.set_fill_color(*BLUE)
    form.rect(LEFT, top, 1.6, bottom - top, style="F")
    form.set_draw_color(*LINE)
    form.set_line_width(0.25)
    form.rect(LEFT, top, RIGHT - LEFT, bottom - top)
    form.set_xy(LEFT, bottom + 8)


def _shown(form: Page, session: Session, wording: ConsentText) -> None:
    form.words(wording.title, 12.5, bold=True, colour=NAVY)
    form.set_y(form.y + 1.5)
    form.words(wording.body, 11)
    form.set_y(form.y + 1)
    how = "Read aloud" if session.consent.manner is Manner.VERBAL else "Shown on the screen"
    shown = f"{how}: {wording.id}, version {wording.version}, language {wording.language}"
    form.words(shown, 8.5, colour=QUIET)
    form.set_y(form.y + 5)


def _answers(form: Page, session: Session, wording: ConsentText) -> None:
    form.rule(form.y)
    for purpose, (label, explanation) in wording.purposes.items():
        top = form.y
        form.set_xy(LEFT, top + 2.6)
        form.words(label, 11, bold=True, width=118)
        form.words(explanation, 9.5, colour=QUIET, width=118)
        bottom = max(form.y + 2.6, top + 13)
        yes = session.consent.permits(purpose)
        middle = (top + bottom) / 2
        _box(form, RIGHT - 40, middle, "Yes", yes)
        _box(form, RIGHT - 17, middle, "No", not yes)
        form.rule(bottom)
        form.set_xy(LEFT, bottom)
    form.set_y(form.y + 8)


def _box(form: Page, x: float, y: float, word: str, ticked: bool) -> None:
    """An answer box with its word; the chosen one is crossed and bold, to copy well in black and white."""
    form.set_draw_color(*(TEXT if ticked else LINE))
    form.set_line_width(0.5 if ticked else 0.3)
    form.rect(x, y - 2.5, 5, 5)
    if ticked:
        # A letter, not a drawn cross: whoever searches or reads the text aloud finds the answer too.
        form.put(x + 1.05, y + 1.55, "X", 12, bold=True)
    form.put(x + 7, y + 1.5, word, 11, bold=ticked, colour=TEXT if ticked else QUIET)


def _signature(form: Page, session: Session, wording: ConsentText) -> None:
    consent = session.consent
    if consent.decision is not Decision.PERMIT:
        sentence = wording.decline if consent.decision is Decision.DENY else wording.withdraw
        top = form.y
        form.set_xy(LEFT + 6, top + 4)
        form.words(sentence, 12.5, bold=True, colour=RED, width=RIGHT - LEFT - 12)
        form.set_xy(LEFT + 6, form.y + 1)
        form.words("No signature is needed. It was entered by the operator named below.", 10)
        bottom = form.y + 4
        form.set_draw_color(*RED)
        form.set_line_width(0.4)
        form.rect(LEFT, top, RIGHT - LEFT, bottom - top)
        form.set_xy(LEFT, bottom + 8)
        return
    if consent.manner is not Manner.SIGNED:
        _unsigned(form, session, wording)
        return
    form.words(wording.agree, 11)
    form.set_y(form.y + 3)
    top = form.y
    form.set_draw_color(*LINE)
    form.set_fill_color(*PALE)
    form.set_line_width(0.25)
    form.rect(LEFT, top, *PAD, style="DF")
    form.set_draw_color(*QUIET)
    form.line(LEFT + 6, top + PAD[1] - 10, LEFT + PAD[0] - 6, top + PAD[1] - 10)
    _draw(form, consent.strokes, LEFT, top)
    form.put(LEFT + 6, top + PAD[1] - 4, f"Signed by {_SIGNERS[consent.signer]}", 8.5, colour=QUIET)
    if consent.signer_name:
        # Above its own line, where a printed name stands beside a signature.
        form.set_xy(LEFT + PAD[0] + 8, top + 31)
        form.words(f"Signer: {consent.signer_name}", 9.5)
    x = LEFT + PAD[0] + 8
    form.put(x, top + 5, "Signed on the screen", 8.5, colour=QUIET)
    form.put(x, top + 11, f"{_day(consent.at)}, {_clock(consent.at)}", 11, bold=True)
    form.put(x, top + 20, "In the presence of", 8.5, colour=QUIET)
    form.set_xy(x, top + 22)
    form.words(session.operator.name, 11, bold=True)
    form.set_xy(LEFT, top + PAD[1] + 8)


def _unsigned(form: Page, session: Session, wording: ConsentText) -> None:
    """A consent that was given aloud, or the decision of a clinician: who says so, and what was read."""
    consent = session.consent
    top = form.y
    form.set_xy(LEFT + 6, top + 4)
    if consent.witness is not None:
        name = f"{consent.signer_name}, " if consent.signer_name else ""
        head = f"Consent was given verbally by {name}{_SIGNERS[consent.signer]}."
        read = f"{wording.id}, version {wording.version}, language {wording.language}"
        lines = [f"The text above ({read}) was read aloud.", f"Witness: {consent.witness.name}"]
    else:
        head = "The patient could not be asked. The decision was made in the patient's best interests."
        lines = [
            f"Decided by {consent.clinician.name if consent.clinician else 'nobody'}, clinician",
            "It covers care and the health record, and nothing else.",
        ]
    form.words(head, 12.5, bold=True, width=RIGHT - LEFT - 12)
    for line in lines:
        form.set_xy(LEFT + 6, form.y + 1.5)
        form.words(line, 11, width=RIGHT - LEFT - 12)
    form.set_xy(LEFT + 6, form.y + 1.5)
    form.words(f"Entered by {session.operator.name} on {_day(consent.at)}, {_clock(consent.at)}", 10)
    bottom = form.y + 4
    form.set_draw_color(*QUIET)
    form.set_line_width(0.4)
    form.rect(LEFT, top, RIGHT - LEFT, bottom - top)
    form.set_xy(LEFT, bottom + 8)


def _draw(form: Page, strokes: Sequence[Stroke], left: float, top: float) -> None:
    with form.new_path() as path:
        path.style.fill_color = None
        path.style.stroke_color = "#0c1437"
        path.style.stroke_width = 0.7
        path.style.stroke_cap_style = StrokeCapStyle.ROUND
        path.style.stroke_join_style = StrokeJoinStyle.ROUND
        path.style.auto_close = False
        for stroke in strokes:
            points = [(left + _unit(x) * PAD[0], top + _unit(y) * PAD[1]) for x, y in stroke]
            for number, (x, y) in enumerate(points):
                (path.line_to if number else path.move_to)(x, y)
            if len(points) == 1:
                # A line without length and with round ends is a dot.
                path.line_to(*points[0])


def _unit(value: float) -> float:
    return min(1.0, max(0.0, value))


def _facts(form: Page, session: Session, station_name: str) -> None:
    consent = session.consent
    taken = len(session.photos)
    rows = (
        ("Date and time", f"{_day(consent.at)}, {_clock(consent.at)}"),
        ("Operator", session.operator.name),
        ("Kiosk", f"{station_name} ({session.station})"),
        ("Photographs sent", str(taken) if taken else "none"),
        ("Receipt", receipt_id(session.id)),
        ("Consent identifier", str(consent.id)),
        ("Evidence (SHA-256)", consent.evidence(session.patient, session.operator, session.station)),
    )
    form.rule(form.y)
    form.set_y(form.y + 4)
    for label, value in rows:
        y = form.y
        form.set_xy(LEFT, y)
        form.words(label, 9, colour=QUIET, width=42)
        below = form.y
        form.set_xy(LEFT + 44, y)
        form.words(value, 9)
        form.set_xy(LEFT, max(below, form.y) + 1.2)
    note = (
        "The evidence is the SHA-256 of the identifier, decision, time, wording, answers, who decided and "
        "how, signature strokes, patient, operator and kiosk of this consent."
    )
    form.set_xy(LEFT, 284)
    form.words(note, 7.5, colour=QUIET)


def _day(day: date) -> str:
    return f"{day.day:02d}-{_MONTHS[day.month - 1]}-{day.year:04d}"


def _clock(at: datetime) -> str:
    """Hours and minutes with the offset from UTC."""
    offset = at.strftime("%z") or "+0000"
    return f"{at:%H:%M} (UTC{offset[:3]}:{offset[3:5]})"
