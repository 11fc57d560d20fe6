"""What is read from files: kiosk.toml, the staff file, sealed headers, audit lines, demo scripts."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiosk import audit, config
from kiosk.audit import Action, AuditLog, Head
from kiosk.config import Settings
from kiosk.demo import script
from kiosk.errors import CannotOpen, ConfigError, SealError
from kiosk.seal import HEADER_MAX, MAGIC, Kind, SealHeader, parse_header
from kiosk.staff import StaffList, hash_pin
from tests.attack.fuzz import MARKER, assert_silent, bounded, budget, deep, json_values, mutated, texts

ROOT = Path(__file__).parents[2]
HAPPY = ROOT / "kiosk/demo/scripts/happy.txt"
EXAMPLE = (ROOT / "kiosk.example.toml").read_bytes()
PIN_HASH = hash_pin("2468")
STAFF = f"""
[[staff]]
id = "apatel"
name = "A. Patel RN"
badge = "{MARKER}"
pin = "{PIN_HASH}"
reference = "Practitioner/123"
[[staff]]
id = "mjones"
name = "M. Jones RN"
badge = "BADGE-1002"
pin = "{PIN_HASH}"
""".encode()
HUGE = [
    deep(b"a = " + b"[" * 0, b"", 1, b"[" * 50_000 + b"]" * 50_000),
    b"a = " + deep(b"[", b"]", 900),
    b"a = " + deep(b"{a=", b"}", 400),
    b".".join([b"a"] * 100_000) + b" = 1",
    b"[" + b".".join([b"a"] * 20_000) + b"]\n" + b"x = " + b"9" * 9000,
    b"a = " + b"9" * 9000,
    b"a = 0x" + b"f" * 200_000,
    b"a = 9999-99-99",
    b"a = 1e999\nb = nan",
    b"a = '''" + b"x" * 500_000,
    b"[station]\n" * 20_000,
    b"\n".join(b"k%d = 1" % n for n in range(20_000)),
    b"[[staff]]\n" * 50_000,
    b"[[fhir]]\n" * 20_000,
    b"\0" * 100_000,
    b"\xff\xfe" + "a = 1".encode("utf-16-le"),
    b"\xef\xbb\xbf[station]\n",
    b"x" * 2_000_000,
]
toml_values: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | st.integers() | st.floats() | texts | st.dates() | st.datetimes() | st.just(MARKER),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(texts | st.sampled_from(["password", "pin"]), inner, max_size=3)
    ),
    max_leaves=8,
)


def complaint(call: Callable[[], object]) -> ConfigError | None:
    """What `call` complains about, or None where it is content."""
    try:
        call()
    except ConfigError as error:
        return error
    return None


# --- kiosk.toml ---------------------------------------------------------------------------------


@budget(250)
@given(mutated(EXAMPLE) | st.sampled_from(HUGE))
def test_any_kiosk_toml_is_settings_or_complaints(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "kiosk.toml"
    path.write_bytes(data)
    with bounded(megabytes=80):
        found = complaint(lambda: config.load(path))
    if found is not None:
        assert 1 <= len(found.complaints) <= 101
        assert all(c.isprintable() and len(c) < 500 for c in found.complaints)


HIDDEN = ("password", "pin", "secret", "api_token", "badge", "key")


@budget(300)
@given(
    st.dictionaries(
        st.sampled_from([*Settings.model_fields, "x"]),
        # The marker stands only where a secret stands: what is no secret is shown, to find the mistake by.
        toml_values.filter(lambda value: MARKER not in repr(value))
        | st.dictionaries(st.sampled_from(HIDDEN), st.just(MARKER) | st.lists(st.just(MARKER)), min_size=1)
        | st.lists(st.dictionaries(st.sampled_from(HIDDEN), st.just(MARKER)), min_size=1)
        | st.fixed_dictionaries(
            {
                "url": st.sampled_from(
                    [
                        f"http://user:{MARKER}@example.org/r4",
                        f"https://user:a/b'{MARKER}@example.org",
                        f"https:user:{MARKER}@x",
                        f"https://example.org/r4?token={MARKER}",
                        f"//{MARKER}@",
                    ]
                )
            }
        ),
    )
)
def test_no_complaint_repeats_a_secret(raw: dict[str, Any]) -> None:
    with bounded(megabytes=30):
        found = complaint(lambda: config.check(raw, "kiosk.toml"))
    if found is not None:
        assert_silent(found)


# --- the staff file ------------------------------------------------------------------------------


@budget(250)
@given(mutated(STAFF) | st.sampled_from(HUGE))
def test_any_staff_file_is_a_list_or_complaints(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "staff.toml"
    path.write_bytes(data)
    with bounded(megabytes=80):
        found = complaint(lambda: StaffList.load(path))
    if found is not None:
        assert_silent(found, PIN_HASH, PIN_HASH[-20:], "BADGE-1002")
        assert 1 <= len(found.complaints) <= 101


def written(values: dict[str, Any]) -> str:
    """Strings, numbers and lists of them as TOML: JSON's spelling is TOML's, but for what TOML lacks."""
    return "".join(f"{json.dumps(key)} = {json.dumps(value)}\n" for key, value in values.items())


entries = st.dictionaries(
    st.sampled_from(["id", "name", "badge", "pin", "reference", MARKER]),
    st.just(MARKER)
    | st.sampled_from(
        [PIN_HASH, PIN_HASH.replace("m=19456", "m=999999999"), PIN_HASH + "=", "apatel", "", "1" * 300]
    )
    | st.text(st.characters(blacklist_categories=("Cs",)), max_size=8)
    | st.integers(-(2**60), 2**60)
    | st.lists(st.just(MARKER)),
)


@budget(250)
@given(st.lists(entries, max_size=4))
def test_no_staff_entry_is_repeated(
    tmp_path_factory: pytest.TempPathFactory, given: list[dict[str, Any]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "entries.toml"
    text = "".join("[[staff]]\n" + written(entry) for entry in given)
    path.write_text(text, encoding="utf-8")
    with bounded(megabytes=30):
        found = complaint(lambda: StaffList.load(path))
    if found is not None:
        assert_silent(found, PIN_HASH)


# --- sealed headers -------------------------------------------------------------------------------

HEADER = SealHeader(UUID(int=1, version=4), UUID(int=2, version=4), Kind.PHOTO, 3).to_bytes()


def framed(header: bytes) -> bytes:
    return MAGIC + len(header).to_bytes(4, "big") + header + b"\2" + bytes(40)


@budget(500)
@given(
    st.binary(max_size=HEADER_MAX + 40)
    | mutated(framed(HEADER))
    | mutated(HEADER).map(framed)
    | json_values.map(lambda value: framed(json.dumps(value).encode()))
    | st.dictionaries(st.sampled_from(["v", "session", "item", "kind", "number"]), json_values).map(
        lambda value: framed(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())
    )
    | st.sampled_from([framed(deep(b"[", b"]", 250)), MAGIC + b"\xff" * 600, MAGIC, b""])
)
def test_any_header_is_ours_or_cannot_be_opened(data: bytes) -> None:
    with bounded(megabytes=2):
        try:
            header = parse_header(data)
        except CannotOpen as error:
            assert_silent(error)
            return
    assert data.startswith(framed(header.to_bytes())[: len(MAGIC) + 4 + len(header.to_bytes())])
    with pytest.raises(SealError):
        SealHeader(header.session, header.item, header.kind, -1)


# --- audit lines ----------------------------------------------------------------------------------


def chain(length: int) -> list[bytes]:
    log = AuditLog("ward-7", UUID(int=9, version=4), wall_trusted=lambda: True)
    for _ in range(length):
        log.append(Action.DELIVERED, session=uuid4(), operator="apatel", count=3)
    return log.lines()


CHAIN = chain(4)
audit_lines = (
    st.sampled_from(CHAIN)
    | mutated(CHAIN[1])
    | json_values.map(lambda value: json.dumps(value, sort_keys=True, separators=(",", ":")).encode())
    | st.fixed_dictionaries(
        {
            "seq": st.integers() | st.just(9991230009),
            "hash": st.text("0123456789abcdef", min_size=64, max_size=64),
            "prev": st.just("0" * 64),
            "station": st.just(MARKER) | texts,
            "boot": st.just(MARKER) | texts,
            "action": st.just(MARKER) | texts,
            "x": json_values,
        }
    ).map(lambda value: json.dumps(value, sort_keys=True, separators=(",", ":")).encode())
    | st.binary(max_size=80)
)


@budget(300)
@given(st.lists(audit_lines, max_size=8))
def test_any_audit_lines_are_whole_or_have_faults(lines: list[bytes]) -> None:
    with bounded(megabytes=10):
        faults = audit.verify(lines, anchors=[Head(3, "f" * 64)])
        head = audit.head_of(lines)
    assert isinstance(head, Head)
    assert all(MARKER not in fault and len(fault) < 300 for fault in faults)
    if not faults:
        assert lines[: len(CHAIN)] == CHAIN[: len(lines)]


@pytest.mark.parametrize("depth", [*range(880, 1000, 1), 5_000, 100_000])
def test_a_deep_audit_line_is_no_entry(depth: int) -> None:
    """Read by one recursion and written by another: neither limit may be felt."""
    entry = json.loads(CHAIN[0])
    core = json.dumps({**entry, "x": "HERE"}, sort_keys=True, separators=(",", ":")).encode()
    line = core.replace(b'"HERE"', deep(b"[", b"]", depth))
    with bounded(megabytes=20):
        assert audit.verify([line]) != []


# --- demo scripts ---------------------------------------------------------------------------------


@budget(250)
@given(
    mutated(HAPPY.read_bytes()).map(lambda data: data.decode("utf-8", "replace"))
    | st.lists(
        st.sampled_from(script.VERBS).flatmap(
            lambda verb: st.tuples(
                st.just(verb),
                texts
                | st.sampled_from(
                    ["nan", "inf", "-1", "1e999", '"', "'", "\\", "LOCKED", "status 500 times=x", "delay nan"]
                ),
            ).map(" ".join)
        ),
        max_size=5,
    ).map("\n".join)
    | st.text(max_size=200)
)
def test_any_script_is_steps_or_complaints(text: str) -> None:
    with bounded(megabytes=10):
        found = complaint(lambda: script.parse(text, "story"))
    if found is not None:
        assert found.complaints
        assert all(len(line) < 1000 for line in found.complaints)
        return
    steps = script.parse(text, "story")
    assert steps
    assert all(step.verb in script.VERBS for step in steps)
    assert all(step.seconds is None or 0 <= step.seconds <= 600 for step in steps)


def test_the_seeds_are_good(tmp_path: Path) -> None:
    """What is mutated must be whole to begin with, or nothing behind the first check is ever reached."""
    path = tmp_path / "staff.toml"
    path.write_bytes(STAFF)
    assert len(StaffList.load(path)) == 2
    assert config.check(tomllib.loads(EXAMPLE.decode()), "kiosk.toml")
    assert audit.verify(CHAIN) == []
    assert script.parse(HAPPY.read_text(encoding="utf-8"), "happy")
    assert parse_header(framed(HEADER)).number == 3
