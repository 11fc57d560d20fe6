"""kiosk audit verify: any edit of a log is found, with the anchors that were taken from it."""

from __future__ import annotations

import json
import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiosk import audit, audit_check
from kiosk.__main__ import EXIT_CONFIG, main
from kiosk.audit import Action, AuditLog
from kiosk.audit_check import check
from kiosk.errors import ConfigError
from kiosk.heads import HeadSigner, SignedHead

BOOT = UUID("0b7a3f8e-6d52-4f0e-8f1c-3a9b1c2d3e4f")


class Kiosk:
    """A chain with its key, and the heads that were anchored on the way."""

    def __init__(self, station: str = "ward-4", boot: UUID = BOOT) -> None:
        key = memoryview(mmap.mmap(-1, mmap.PAGESIZE))[:32]
        key[:] = uuid4().bytes + uuid4().bytes
        self.log = AuditLog(station, boot, wall_trusted=lambda: True)
        self.signer = HeadSigner(station, boot, key)
        self.log.start(self.signer.public_key)
        self.heads: list[SignedHead] = []

    def works(self, sessions: int) -> Kiosk:
        for _ in range(sessions):
            session = uuid4()
            self.log.append(Action.SESSION_OPENED, session=session, operator="apatel")
            self.log.append(Action.COMMITTED, session=session, operator="apatel", count=2)
            self.heads.append(self.signer.sign(self.log.head.seq, self.log.head.hash))
            self.log.append(Action.DELIVERED, session=session, count=2)
        return self

    def data(self) -> bytes:
        return b"".join(line + b"\n" for line in self.log.lines())


def lines_of(data: bytes) -> list[bytes]:
    return data.splitlines(keepends=True)


def faults(data: bytes, anchors: Sequence[SignedHead]) -> list[str]:
    # As a file is read: lines end at a line feed and nowhere else.
    lines = [line + b"\n" for line in data.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    return check(iter([line for line in lines if line]), anchors).faults


def rehashed(lines: list[bytes]) -> list[bytes]:
    """What somebody writes who knows how the chain is made: every hash fits again."""
    made: list[bytes] = []
    head = audit.GENESIS
    for number, line in enumerate(lines, 1):
        entry = {**json.loads(line), "seq": number, "prev": head.hash}
        entry["hash"] = audit._digest(entry)
        made.append(audit._canonical(entry) + b"\n")
        head = audit.Head(number, entry["hash"])
    return made


def test_a_log_with_its_anchors_is_good() -> None:
    kiosk = Kiosk().works(3)
    found = check(iter(lines_of(kiosk.data())), kiosk.heads)
    assert found.faults == []
    assert (found.log.entries, len(found.anchors), found.others, found.log.anchored) == (10, 3, 0, 3)
    assert found.open_end == 1, "the last delivery"


# --- any edit is found ------------------------------------------------------------------------------

LOG = Kiosk().works(3)
LOG.log.append(Action.SIGN_IN_REFUSED, outcome="pin-wrong")
DATA = LOG.data()
LINES = lines_of(DATA)
ANCHORED = LOG.heads[-1].seq


@given(place=st.integers(0, len(DATA) - 1), byte=st.integers(0, 255))
def test_a_change_of_any_byte_is_found(place: int, byte: int) -> None:
    changed = bytearray(DATA)
    changed[place] = byte
    assert bool(faults(bytes(changed), LOG.heads)) is (bytes(changed) != DATA)


def test_a_flip_of_every_single_byte_is_found() -> None:
    for place in range(len(DATA)):
        changed = bytearray(DATA)
        changed[place] ^= 0x20
        assert faults(bytes(changed), LOG.heads), place


@given(st.data())
def test_any_removal_is_found(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, ANCHORED - 1))
    end = data.draw(st.integers(start + 1, len(LINES)))
    assert faults(b"".join(LINES[:start] + LINES[end:]), LOG.heads)


@given(st.data())
def test_any_removal_is_found_although_the_chain_was_made_anew(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, ANCHORED - 1))
    end = data.draw(st.integers(start + 1, len(LINES)))
    assert faults(b"".join(rehashed(LINES[:start] + LINES[end:])), LOG.heads)


@given(order=st.permutations(range(len(LINES))), anew=st.booleans())
def test_any_swap_is_found(order: list[int], anew: bool) -> None:
    lines = [LINES[n] for n in order]
    moved = order[:ANCHORED] != list(range(ANCHORED)) if anew else order != list(range(len(LINES)))
    assert bool(faults(b"".join(rehashed(lines) if anew else lines), LOG.heads)) is moved


@given(cut=st.integers(0, len(DATA) - 1))
def test_any_cut_is_found_but_one_at_an_entry_after_the_last_anchor(cut: int) -> None:
    kept = DATA[:cut]
    unseen = kept.endswith(b"\n") and kept.count(b"\n") >= ANCHORED
    assert bool(faults(kept, LOG.heads)) is not unseen


@given(
    number=st.integers(0, ANCHORED - 1),
    change=st.sampled_from(
        [{"count": 77}, {"outcome": "x"}, {"operator": "mjones"}, {"wall_trusted": False}, {"session": None}]
    ),
)
def test_an_entry_written_anew_with_all_that_follows_is_found(number: int, change: dict[str, Any]) -> None:
    lines = list(LINES)
    entry = {**json.loads(lines[number]), **change}
    if entry == json.loads(lines[number]):
        entry["count"] = 99
    lines[number] = audit._canonical(entry) + b"\n"
    assert faults(b"".join(rehashed(lines)), LOG.heads)


@given(number=st.integers(0, len(LINES)), line=st.sampled_from([*LINES, b"\n", b"{}\n", b"x\n"]))
def test_any_insertion_is_found(number: int, line: bytes) -> None:
    assert faults(b"".join([*LINES[:number], line, *LINES[number:]]), LOG.heads)


def test_a_whole_log_of_another_boot_in_its_place_shows_no_anchor() -> None:
    other = Kiosk(boot=uuid4()).works(3)
    found = check(iter(lines_of(other.data())), LOG.heads)
    assert (found.faults, found.anchors, found.others) == ([], [], 3)
    assert found.open_end == found.log.entries


# --- signatures ------------------------------------------------------------------------------------


def test_an_anchor_that_the_kiosk_did_not_sign_is_found() -> None:
    kiosk = Kiosk().works(2)
    forger = Kiosk()
    forged = forger.signer.sign(kiosk.heads[1].seq, kiosk.heads[1].hash)
    assert check(iter(lines_of(kiosk.data())), [kiosk.heads[0], forged]).faults == [
        f"the anchor of entry {forged.seq} is not signed by this boot's key"
    ]


def test_a_log_under_another_key_is_found() -> None:
    """Written anew from its first entry on, with a key of one's own: the real anchors contradict it."""
    kiosk, forger = Kiosk().works(2), Kiosk().works(2)
    found = check(iter(lines_of(forger.data())), kiosk.heads)
    assert [f for f in found.faults if "is not the one that is anchored" in f]
    assert [f for f in found.faults if "is not signed by this boot's key" in f]


def test_a_renewed_key_signs_from_its_own_entry_on() -> None:
    kiosk = Kiosk().works(1)
    second = Kiosk().signer
    kiosk.log.start(second.public_key, outcome="key-renewed")
    late = second.sign(kiosk.log.head.seq, kiosk.log.head.hash)
    early = second.sign(kiosk.heads[0].seq, kiosk.heads[0].hash)
    lines = lines_of(kiosk.data())
    assert check(iter(lines), [*kiosk.heads, late]).faults == []
    assert len(check(iter(lines), [early]).faults) == 1


def test_a_log_begins_with_its_boot() -> None:
    log = AuditLog("ward-4", BOOT, wall_trusted=lambda: True)
    log.append(Action.SIGN_IN)
    line = log.lines()[0] + b"\n"
    assert check(iter([line]), []).faults == ["the log does not begin with the start of its boot"]
    assert check(iter([]), []).faults == ["there is no entry: a log begins with the start of its boot"]


_HEAD_NAMES = [f"lethe-audit-head-{name}" for name in ("seq", "boot", "hash", "station", "signature")]
_NAMES = st.sampled_from(
    ["entry", "resource", "entity", "detail", "type", "valueString", *_HEAD_NAMES]
) | st.text(max_size=6)

# --- the command -----------------------------------------------------------------------------------


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "audit.jsonl"
    path.write_bytes(DATA)
    return path


def jsonl(path: Path, heads: Sequence[SignedHead]) -> Path:
    path.write_text("".join(head.to_json() + "\n" for head in heads), encoding="ascii")
    return path


def test_good_is_0_and_says_what_stays_open(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Kiosk("ward-5", uuid4()).works(1).heads
    first, second = jsonl(tmp_path / "a", LOG.heads[:2]), jsonl(tmp_path / "b", [*LOG.heads[1:], *other])
    assert main(["audit", "verify", str(log), "--anchors", str(first), str(second)]) == 0
    out = capsys.readouterr().out
    assert "11 entries" in out
    assert f"station ward-4, boot {BOOT}" in out
    assert "anchors of this boot: 3; of other boots or stations: 1" in out
    assert "entries after the last anchor: 2; these can be cut off" in out
    assert LOG.signer.public_key.hex() in out
    assert out.endswith("good\n")
    assert main(["audit", "verify", str(log), "--anchors", str(first), "--anchors", str(second)]) == 0


def test_without_anchors_it_says_so(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "verify", str(log)]) == 0
    out = capsys.readouterr().out
    assert "no anchors were given" in out
    assert "entries after the last anchor: 11" in out


def test_missing_anchors_are_pointed_out(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", "verify", str(log), "--anchors", str(jsonl(tmp_path / "a", LOG.heads[:1]))]) == 0
    assert "the log tells of 3 anchored deliveries" in capsys.readouterr().out


def test_faults_are_1(log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    anchors = str(jsonl(tmp_path / "a", LOG.heads))
    log.write_bytes(b"".join(LINES[: ANCHORED - 1]))
    assert main(["audit", "verify", str(log), "--anchors", anchors]) == 1
    out = capsys.readouterr().out
    assert f"FAULT: the chain is cut short before entry {ANCHORED}, which is anchored" in out
    assert out.endswith("1 faults\n")
    log.write_bytes(b"")
    assert main(["audit", "verify", str(log), "--anchors", anchors]) == 1
    log.write_bytes(b"nonsense\n" * 80)
    assert main(["audit", "verify", str(log)]) == 1
    assert "and 31 more" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text",
    [
        "OKONKWO",
        '{"resourceType":"Patient","name":"OKONKWO"}',
        '{"station":"OKONKWO"}',
        "[]",
        "[" * 50_000,
        '{"resourceType":"AuditEvent","entity":[{"detail":[{"type":"lethe-audit-head-seq","valueString":"x"}]}]}',
    ],
)
def test_anchors_that_are_none_are_78(
    log: Path, tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "anchors.json"
    path.write_text(text, encoding="utf-8")
    assert main(["audit", "verify", str(log), "--anchors", str(path)]) == EXIT_CONFIG
    complaint = capsys.readouterr().err
    assert str(path) in complaint
    assert "allowed: a Bundle of AuditEvents" in complaint
    assert "OKONKWO" not in complaint


def test_unreadable_files_are_78(log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    none = tmp_path / "none"
    assert main(["audit", "verify", str(none)]) == EXIT_CONFIG
    assert main(["audit", "verify", str(tmp_path)]) == EXIT_CONFIG
    assert main(["audit", "verify", str(log), "--anchors", str(none)]) == EXIT_CONFIG
    assert capsys.readouterr().err.count("cannot be read") == 3


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=12,
)


@given(kind=st.sampled_from(["AuditEvent", "Bundle", "x", None]), document=st.dictionaries(_NAMES, _JSON))
def test_any_json_is_anchors_or_a_complaint(
    tmp_path_factory: pytest.TempPathFactory, kind: str | None, document: dict[str, Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.json"
    path.write_text(json.dumps({**document, **({"resourceType": kind} if kind else {})}))
    complaints: tuple[str, ...] = ()
    try:
        assert audit_check.read_anchors(path) == []
    except ConfigError as e:
        complaints = e.complaints
    assert all(str(path) in complaint for complaint in complaints)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_log_with_faults(data: bytes) -> None:
    assert faults(data, LOG.heads)


def test_resources_and_lines_of_resources_are_anchors(tmp_path: Path) -> None:
    def event(head: SignedHead) -> dict[str, Any]:
        detail = [{"type": f"lethe-audit-head-{k}", "valueString": v} for k, v in head.to_fields().items()]
        return {"resourceType": "AuditEvent", "entity": [{"what": {"display": "x"}}, {"detail": detail}]}

    events = [event(head) for head in LOG.heads]
    foreign = {"resourceType": "AuditEvent", "entity": [{"detail": [{"type": "x", "valueString": "y"}]}]}
    outcome = {"resourceType": "OperationOutcome"}
    entries = [{"resource": r} for r in (*events, foreign, outcome)]
    bundle = {"resourceType": "Bundle", "type": "searchset", "entry": [*entries, {}]}
    path = tmp_path / "x.json"
    path.write_text(json.dumps(bundle, indent=2))
    assert audit_check.read_anchors(path) == LOG.heads
    path.write_text(json.dumps(events[1]))
    assert audit_check.read_anchors(path) == [LOG.heads[1]]
    path.write_text("\n".join(json.dumps(e) for e in (*events, foreign)))
    assert audit_check.read_anchors(path) == LOG.heads
    path.write_text("")
    assert audit_check.read_anchors(path) == []
