from __future__ import annotations

import hashlib
import json
import threading
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiosk import audit
from kiosk.audit import GENESIS, Action, AuditLog, Head, survey, verify
from kiosk.errors import KioskError

BOOT = UUID("0b7a3f8e-6d52-4f0e-8f1c-3a9b1c2d3e4f")
SESSION = UUID("5b1d7f5e-38b2-4f3e-9f0e-0c7c5a0d4a11")


def make(**changes: Any) -> AuditLog:
    facts: dict[str, Any] = {
        "station": "ward-4.kiosk-1",
        "boot_id": BOOT,
        "wall": lambda: datetime(2031, 5, 17, 11, 30, 0, 123456, timezone(timedelta(hours=2))),
        "wall_trusted": lambda: True,
        "clock": lambda: 12.3456,
    }
    return AuditLog(**{**facts, **changes})


KEY = bytes(range(32))
REST = [action for action in Action if action is not Action.STARTED]


def filled(count: int = 8) -> AuditLog:
    log = make()
    log.start(KEY)
    for number in range(count - 1):
        log.append(REST[number % len(REST)], session=SESSION, operator="apatel", count=number)
    return log


def test_an_entry_is_canonical_and_chained() -> None:
    log = make()
    first = log.append(Action.SIGN_IN, operator="apatel")
    second = log.append(Action.DELIVERED, session=SESSION, outcome="proven", count=3)
    assert second == (
        b'{"action":"delivered","boot":"0b7a3f8e-6d52-4f0e-8f1c-3a9b1c2d3e4f","clock_ms":12345,"count":3,'
        b'"hash":"%s","id":"%s","operator":null,"outcome":"proven","prev":"%s","seq":2,'
        b'"session":"5b1d7f5e-38b2-4f3e-9f0e-0c7c5a0d4a11","station":"ward-4.kiosk-1","v":2,'
        b'"wall":"2031-05-17T09:30:00.123+00:00","wall_trusted":true}'
        % (log.head.hash.encode(), json.loads(second)["id"].encode(), json.loads(first)["hash"].encode())
    )
    bare = second.replace(b'"hash":"' + log.head.hash.encode() + b'",', b"")
    assert hashlib.sha256(bare).hexdigest() == log.head.hash
    assert json.loads(first)["prev"] == "0" * 64
    assert log.head.seq == 2
    assert log.lines() == [first, second]
    assert verify(log.lines(), anchors=[log.head]) == []


def test_every_entry_has_a_random_id() -> None:
    ids = [UUID(json.loads(line)["id"]) for line in (*filled(20).lines(), *filled(20).lines())]
    assert len(set(ids)) == 40
    assert {id.version for id in ids} == {4}


def test_the_start_of_a_boot_carries_its_key_and_nothing_else_does() -> None:
    log = make()
    first = json.loads(log.start(KEY))
    assert (first["action"], first["key"]) == ("started", KEY.hex())
    assert "key" not in json.loads(log.append(Action.SIGN_IN))
    assert audit.survey(log.lines()).keys == {1: KEY.hex()}
    for wrong in (KEY[:31], KEY + b"x", KEY.hex(), memoryview(KEY)):
        with pytest.raises(KioskError):
            log.start(wrong)  # type: ignore[arg-type]
    with pytest.raises(KioskError, match="use start"):
        log.append(Action.STARTED)
    assert log.head.seq == 2


def test_the_sink_gets_every_line_and_its_failure_loses_nothing() -> None:
    got: list[bytes] = []

    def sink(line: bytes) -> None:
        got.append(line)
        if len(got) == 2:
            raise OSError("no room")

    log = make(sink=sink)
    log.append(Action.SIGN_IN)
    with pytest.raises(OSError, match="no room"):
        log.append(Action.COMMITTED)
    log.append(Action.DELIVERED)
    assert log.lines() == got
    assert verify(got, anchors=[log.head]) == []


def test_memory_is_bounded_and_the_rest_verifies_from_where_it_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(audit, "_KEPT", 10)
    log = make()
    heads = [GENESIS]
    for _ in range(25):
        log.append(Action.COMMITTED)
        heads.append(log.head)
    assert len(log.lines()) == 10
    assert verify(log.lines()) == ["line 1: entry 16 follows entry 0"]
    assert verify(log.lines(), start=heads[15], anchors=[log.head, heads[20], heads[15]]) == []
    assert verify(log.lines(), start=Head(15, "f" * 64)) == ["line 1: does not follow from entry 15"]


def test_a_chain_goes_on_from_a_head() -> None:
    first = filled(3)
    second = make(head=first.head)
    second.append(Action.UPLOADER_RESTARTED)
    assert verify([*first.lines(), *second.lines()], anchors=[first.head, second.head]) == []


def test_the_head_of_kept_lines() -> None:
    log = filled(3)
    assert audit.head_of(log.lines()) == log.head
    assert audit.head_of([*log.lines(), b'{"half a li']) == log.head
    assert audit.head_of([]) == GENESIS


def test_threads_make_one_chain() -> None:
    log = make()
    threads = [
        threading.Thread(target=lambda: [log.append(Action.COMMITTED) for _ in range(50)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log.head.seq == 200
    assert verify(log.lines(), anchors=[log.head]) == []


# --- nothing about patients fits in ---------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"action": "sign-in"},
        {"session": "OKONKWO-SMITH"},
        {"session": str(SESSION)},
        {"operator": "OKONKWO SMITH"},
        {"operator": "a9991230009"},
        {"operator": "9991230009"},
        {"operator": ""},
        {"operator": "a" * 33},
        {"operator": b"apatel"},
        {"operator": "apatel\n"},
        {"outcome": "Adaeze"},
        {"outcome": "two words"},
        {"outcome": "x-99912300"},
        {"outcome": "\u00e9tat"},
        {"outcome": "o" * 41},
        {"outcome": None},
        {"count": 9991230009},
        {"count": -1},
        {"count": True},
        {"count": 1.0},
        {"count": "1"},
    ],
)
def test_closed_fields(fields: dict[str, Any]) -> None:
    log = filled(2)
    before = log.lines(), log.head
    with pytest.raises(KioskError) as caught:
        log.append(**{"action": Action.SIGN_IN, **fields})
    assert (log.lines(), log.head) == before
    for value in fields.values():
        assert len(str(value)) < 6 or str(value) not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"operator": "OKONKWO SMITH"},
        {"outcome": "Adaeze"},
        {"outcome": "x-99912300"},
        {"session": "9991230009"},
        {"action": "okonkwo"},
        {"station": "ward 4"},
        {"wall": "yesterday"},
        {"wall_trusted": 1},
        {"clock_ms": -1},
        {"count": 9991230009},
        {"v": 1},
        {"v": True},
        {"id": "x"},
        {"note": "OKONKWO"},
        {"key": KEY.hex()},
        {"boot": str(BOOT).upper()},
    ],
)
def test_what_would_not_be_written_is_not_read(changes: dict[str, Any]) -> None:
    """With a hash that fits: the form of every field is checked, not only the chain."""
    lines = filled(2).lines()
    assert verify([lines[0], rehashed(lines[1], **changes)]) == ["line 2: not an entry"]


def test_an_entry_without_a_field_is_none() -> None:
    line = filled(1).lines()[0]
    assert audit.parse(line) is not None
    for name in json.loads(line):
        entry = {key: value for key, value in json.loads(line).items() if key != name}
        assert audit.parse(audit._canonical(entry)) is None, name


@pytest.mark.parametrize("station", ["", "a b", "-x", "a" * 65, "ward\n"])
def test_closed_station(station: str) -> None:
    with pytest.raises(KioskError):
        make(station=station)


def test_codes_of_problems_fit() -> None:
    from kiosk.errors import Problem

    log = make()
    for problem in Problem:
        log.append(Action.PARKED, outcome=problem.code)
    assert log.head.seq == len(Problem)


# --- attacks --------------------------------------------------------------------------------------


def test_any_changed_byte_is_found() -> None:
    log = filled(3)
    lines = log.lines()
    for number, line in enumerate(lines):
        for place in range(len(line)):
            changed = bytearray(line)
            changed[place] ^= 1
            attacked = [*lines[:number], bytes(changed), *lines[number + 1 :]]
            assert verify(attacked), (number, place)


def rehashed(line: bytes, **changes: Any) -> bytes:
    entry = {**json.loads(line), **changes}
    return audit._canonical({**entry, "hash": audit._digest(entry)})


def test_a_change_with_a_new_hash_is_found_by_what_follows_or_by_the_anchor() -> None:
    log = filled(4)
    lines = log.lines()
    for number in range(4):
        attacked = list(lines)
        attacked[number] = rehashed(lines[number], count=77)
        faults = verify(attacked, anchors=[log.head])
        expected = f"line {number + 2}: does not follow" if number < 3 else "entry 4 is not the one"
        assert [f for f in faults if f.startswith(expected)]


def test_a_chain_made_anew_is_found_by_an_anchor() -> None:
    log = filled(6)
    forged = make()
    for _ in range(6):
        forged.append(Action.COMMITTED)
    assert verify(forged.lines()) == []
    assert verify(forged.lines(), anchors=[log.head]) == ["entry 6 is not the one that is anchored"]


@pytest.mark.parametrize("gone", range(6))
def test_a_removed_entry_is_found(gone: int) -> None:
    log = filled(6)
    lines = log.lines()
    del lines[gone]
    assert verify(lines, anchors=[log.head])


@pytest.mark.parametrize("kept", range(6))
def test_a_cut_is_found_against_the_head(kept: int) -> None:
    log = filled(6)
    lines = log.lines()[:kept]
    assert verify(lines) == []
    assert verify(lines, anchors=[log.head]) == ["the chain is cut short before entry 6, which is anchored"]


def test_entries_of_another_boot_or_station_are_found() -> None:
    first = filled(2)
    for other in (make(head=first.head, boot_id=uuid4()), make(head=first.head, station="x")):
        other.append(Action.COMMITTED)
        assert verify([*first.lines(), *other.lines()]) == ["line 3: of another station or boot"]


@settings(max_examples=100, deadline=None)
@given(order=st.permutations(range(5)))
def test_any_reorder_is_found(order: list[int]) -> None:
    log = filled(5)
    lines = log.lines()
    faults = verify([lines[n] for n in order], anchors=[log.head])
    assert bool(faults) is (order != list(range(5)))


@pytest.mark.parametrize(
    "line", [b"", b"{}", b"[]", b"null", b"\xff", b"[" * 50_000, b'{"seq":1}', b'{"seq":"1"}', b"9" * 9000]
)
def test_lines_that_are_not_entries(line: bytes) -> None:
    log = filled(2)
    assert "line 2: not an entry" in verify([log.lines()[0], line, log.lines()[1]])


def test_the_same_facts_in_another_spelling_are_not_an_entry() -> None:
    line = filled(1).lines()[0]
    assert verify([line.replace(b":1,", b": 1,", 1)]) == ["line 1: not an entry"]
    assert verify([line.replace(b"{", b'{"seq":1,', 1)]) == ["line 1: not an entry"]


def test_the_default_clocks_are_aware() -> None:
    log = AuditLog("kiosk", BOOT, wall_trusted=lambda: False)
    entry = json.loads(log.append(Action.SIGN_IN))
    assert entry["wall_trusted"] is False
    assert abs(datetime.fromisoformat(entry["wall"]) - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_correction_is_not_counted_as_an_anchored_delivery() -> None:
    log = AuditLog("ward-7", uuid4(), wall_trusted=lambda: True)
    photographs, correction = uuid4(), uuid4()
    log.append(Action.DELIVERED, session=photographs)
    log.append(Action.WITHDRAWN_BY_RECEIPT, session=correction)
    log.append(Action.DELIVERED, session=correction)
    assert survey(log.lines()).anchored == 1
