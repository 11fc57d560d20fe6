from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kiosk.errors import ConfigError, Problem, SignInError
from kiosk.model import Identifier, Practitioner
from kiosk.staff import SignIn, StaffList, hash_pin

PIN_1 = "$argon2id$v=19$m=19456,t=2,p=1$kRIsbxDN0eI1o7aOXXEr3g$YYyinOIAhI5vfjQ5D5U8PA42cvfSu9cbe5qftYY1SKs"
"""135790"""
PIN_2 = "$argon2id$v=19$m=19456,t=2,p=1$cLsvFq165zSZto/qXhh9ow$KbXuQN96bz8YQ9IkV4tIwmeDySYKnyT0F2kSkBudwts"
"""2468"""


def entry(**changes: str | None) -> str:
    facts: dict[str, str | None] = {"id": "apatel", "name": "A. Patel RN", "badge": "100423", "pin": PIN_1}
    rows = [f'{k} = "{v}"' for k, v in {**facts, **changes}.items() if v is not None]
    return "\n".join(["[[staff]]", *rows, ""])


SECOND = entry(id="jlee", name="J. Lee", badge="B-77", pin=PIN_2, reference="Practitioner/123")


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "staff.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def staff(write: Callable[[str], Path]) -> StaffList:
    return StaffList.load(write(entry() + SECOND))


def complaints(path: Path) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        StaffList.load(path)
    return caught.value.complaints


# --- the file ----------------------------------------------------------------------------------


def test_an_identifier_to_find_the_reference_by(write: Callable[[str], Path]) -> None:
    staff = StaffList.load(write(entry(identifier="https://hospital.example/Id/staff|47.11")))
    member = staff.find("100423")
    assert member is not None
    assert member.practitioner.identifier == Identifier("https://hospital.example/Id/staff", "47.11")
    assert member.practitioner.reference is None


@pytest.mark.parametrize(
    "identifier", ["4711", "|4711", "https://a|", "https://a|b|c", "https://a|b c", "ftp://a|b", "urn:a b|c"]
)
def test_wrong_identifiers(write: Callable[[str], Path], identifier: str) -> None:
    path = write(entry(identifier=identifier))
    (complaint,) = complaints(path)
    assert complaint.startswith(f"{path}: staff entry 1, identifier: wrong; allowed: SYSTEM|VALUE")


def test_a_good_file(staff: StaffList) -> None:
    assert len(staff) == 2
    member = staff.find("B-77")
    assert member is not None
    assert member.practitioner == Practitioner("jlee", "J. Lee", "Practitioner/123")
    assert staff.find("b-77") is None
    assert PIN_2 not in repr(member)
    assert "B-77" not in repr(member)


def test_every_complaint_at_once_and_no_secret_in_any(write: Callable[[str], Path]) -> None:
    weak = PIN_1.replace("m=19456,t=2", "m=4096,t=1")
    path = write(
        entry(name="", badge="has space")
        + entry(id="9-lives", pin=weak, badge="100423")
        + entry(id="apatel", pin="1234", badge="100423", colour="red", reference="Patient/1")
        + entry(id=None, badge=None)
        + "[other]\n"
    )
    found = complaints(path)
    assert [re.sub(r"; allowed: .*", "", c.removeprefix(f"{path}: ")) for c in found] == [
        "1 unknown key(s) at the top",
        "staff entry 1, name: wrong",
        "staff entry 1, badge: wrong",
        "staff entry 2, id: wrong",
        "staff entry 2, pin: wrong",
        "staff entry 3, pin: wrong",
        "staff entry 3, reference: wrong",
        "staff entry 3, 1 unknown key(s)",
        "staff entry 4, id: missing",
        "staff entry 4, badge: missing",
        "staff entry 3, id: the same as in entry 1",
        "staff entry 3, badge: the same as in entry 2",
    ]
    assert all("; allowed: " in c for c in found)
    text = "\n".join(found)
    for secret in ("100423", "has space", "1234", PIN_1, weak, PIN_1[-20:], "red", "colour", "Patient/1"):
        assert secret not in text


@pytest.mark.parametrize(
    "pin",
    [
        PIN_1.replace("m=19456", "m=19455"),
        PIN_1.replace("t=2", "t=1"),
        PIN_1.replace("p=1", "p=0"),
        PIN_1.replace("m=19456", "m=9999999"),
        PIN_1.replace("t=2", "t=1000"),
        PIN_1.replace("argon2id", "argon2i"),
        PIN_1.replace("v=19", "v=16"),
        PIN_1[:-4],
        PIN_1 + "AA",
        PIN_1[:-1] + "B",
        PIN_1 + "$",
        "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$" + PIN_1.rsplit("$", 1)[1],
        "$argon2id$v=19$m=\u0661\u0669\u0664\u0665\u0666,t=2,p=1$" + PIN_1.split("$", 4)[4],
        "",
        "135790",
    ],
)
def test_weak_and_broken_hashes(write: Callable[[str], Path], pin: str) -> None:
    assert [c for c in complaints(write(entry(pin=pin))) if "entry 1, pin: wrong" in c]


def test_stronger_hashes_are_welcome(write: Callable[[str], Path]) -> None:
    StaffList.load(write(entry(pin=PIN_1.replace("m=19456,t=2,p=1", "m=65536,t=3,p=4"))))


@pytest.mark.parametrize("id", ["", "1abc", "a b", "a" * 33, "ä", "a99900000001", "a/b"])
def test_ids_that_could_not_go_into_the_audit(write: Callable[[str], Path], id: str) -> None:
    assert "entry 1, id: wrong" in complaints(write(entry(id=id)))[0]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "staff: missing"),
        ("staff = 3", "staff: missing"),
        ("staff = []", "staff: missing"),
        ("staff = [1]", "staff entry 1: not a table"),
        ("[[staff]]\nbadge = x100423", "not TOML, line 2, column 9"),
        ('[[staff]]\nid = "unclosed', "not TOML, end of document"),
        ("a = 1\na = 100423", "not TOML"),
        ("a = " + "[" * 20_000, "not TOML"),
        ("a = " + "9" * 5000, "not TOML"),
        ("#" * 1_000_001, "too large"),
    ],
)
def test_files_that_are_not_ours(write: Callable[[str], Path], text: str, complaint: str) -> None:
    found = complaints(write(text))
    assert len(found) == 1
    assert complaint in found[0]
    assert "100423" not in found[0]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in complaints(tmp_path / "none")[0]
    assert "cannot be read: Is a directory" in complaints(tmp_path)[0]
    (tmp_path / "latin1").write_bytes(entry(name="J\xf6rg").encode("latin-1"))
    assert "not UTF-8" in complaints(tmp_path / "latin1")[0]


def test_a_made_pin_signs_in(write: Callable[[str], Path]) -> None:
    sign_in = SignIn(StaffList.load(write(entry(pin=hash_pin("98765432")))))
    assert sign_in.check("100423", "98765432").id == "apatel"


def test_numbers_where_text_belongs(write: Callable[[str], Path]) -> None:
    text = entry(badge=None) + "badge = 100423\n"
    assert (
        "entry 1, badge: wrong; allowed: 1 to 64 visible ASCII characters in quotes"
        in complaints(write(text))[0]
    )


# --- PINs --------------------------------------------------------------------------------------


def test_pins_are_salted_argon2id() -> None:
    pins = {hash_pin("135790") for _ in range(3)}
    assert len(pins) == 3
    for pin in pins:
        assert re.fullmatch(r"\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}", pin)


@pytest.mark.parametrize(
    "pin", ["", "123", "123456789", "12a4", "1234\n", " 1234", "\u0661\u0662\u0663\u0664"]
)
def test_pins_are_4_to_8_digits(pin: str) -> None:
    with pytest.raises(ConfigError) as caught:
        hash_pin(pin)
    assert caught.value.complaints == ("pin: wrong; allowed: 4 to 8 digits",)


# --- signing in --------------------------------------------------------------------------------


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sign_in(staff: StaffList, clock: Clock) -> SignIn:
    return SignIn(staff, max_tries=3, lock_seconds=60, clock=clock)


def refused(call: Callable[[], object]) -> tuple[Problem, int | None]:
    with pytest.raises(SignInError) as caught:
        call()
    return caught.value.problem, caught.value.tries_left


def test_badge_and_pin(sign_in: SignIn) -> None:
    assert sign_in.badge("100423") == "A. Patel RN"
    assert sign_in.check("100423", "135790") == Practitioner("apatel", "A. Patel RN")
    assert refused(lambda: sign_in.badge("nobody")) == (Problem.BADGE_UNKNOWN, None)
    assert refused(lambda: sign_in.check("nobody", "135790")) == (Problem.BADGE_UNKNOWN, None)


def test_lock_out_and_its_end(sign_in: SignIn, clock: Clock) -> None:
    assert refused(lambda: sign_in.check("100423", "0000")) == (Problem.PIN_WRONG, 2)
    assert refused(lambda: sign_in.check("100423", "2468")) == (Problem.PIN_WRONG, 1)
    assert refused(lambda: sign_in.check("100423", "0000")) == (Problem.LOCKED_OUT, 0)
    clock.now += 59.9
    assert refused(lambda: sign_in.check("100423", "135790")) == (Problem.LOCKED_OUT, 0)
    assert sign_in.check("B-77", "2468").id == "jlee"
    clock.now += 0.1
    assert refused(lambda: sign_in.check("100423", "0000")) == (Problem.PIN_WRONG, 2)
    assert sign_in.check("100423", "135790").id == "apatel"


def test_trying_while_locked_does_not_lock_for_longer(sign_in: SignIn, clock: Clock) -> None:
    for _ in range(3):
        refused(lambda: sign_in.check("100423", "0000"))
    clock.now += 50
    refused(lambda: sign_in.check("100423", "0000"))
    clock.now += 10
    assert sign_in.check("100423", "135790").id == "apatel"


def test_success_gives_all_tries_back(sign_in: SignIn) -> None:
    for _ in range(3):
        assert refused(lambda: sign_in.check("100423", "0000")) == (Problem.PIN_WRONG, 2)
        assert refused(lambda: sign_in.check("100423", "0000")) == (Problem.PIN_WRONG, 1)
        assert sign_in.check("100423", "135790").id == "apatel"


@pytest.mark.parametrize(
    "pin", ["", "135790\n", "135790 ", "1" * 10_000, "\ud800", "\u0661\u0663\u0665", "\0"]
)
def test_garbage_as_a_pin_is_a_wrong_pin(sign_in: SignIn, pin: str) -> None:
    assert refused(lambda: sign_in.check("100423", pin)) == (Problem.PIN_WRONG, 2)
    assert refused(lambda: sign_in.check("nobody", pin)) == (Problem.BADGE_UNKNOWN, None)


def test_many_tries_at_once_are_not_free(sign_in: SignIn) -> None:
    answers: list[tuple[Problem, int | None]] = []
    threads = [
        threading.Thread(target=lambda: answers.append(refused(lambda: sign_in.check("100423", "0000"))))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers, key=lambda a: -(a[1] or 0)) == [
        (Problem.PIN_WRONG, 2),
        (Problem.PIN_WRONG, 1),
        *[(Problem.LOCKED_OUT, 0)] * 6,
    ]


def test_an_unknown_badge_costs_what_a_wrong_pin_costs(staff: StaffList) -> None:
    sign_in = SignIn(staff, max_tries=100)

    def cost(badge: str) -> float:
        started = time.thread_time()
        with pytest.raises(SignInError):
            sign_in.check(badge, "0000")
        return time.thread_time() - started

    known = min(cost("100423") for _ in range(5))
    unknown = min(cost("nobody") for _ in range(5))
    assert 0.5 < unknown / known < 2
