"""The doctor on machines that are well and sick in every way it knows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kiosk.config import Settings, check
from kiosk.doctor import Finding, Machine, Status, examine, report
from kiosk.staff import hash_pin

UUID_LINE = "22 21 {dev} / /mnt rw,nosuid shared:1 - {kind} {kind} rw,{options}\n"


class Patient:
    """A machine that can be made sick: a /proc of our own, a spool, a staff file."""

    def __init__(self, tmp_path: Path) -> None:
        self.proc = tmp_path / "proc"
        self.spool = tmp_path / "spool"
        self.staff = tmp_path / "staff.toml"
        self.clock = True
        self.cipher = "auto"
        for name in ("self", "sys/kernel/yama"):
            (self.proc / name).mkdir(parents=True)
        self.spool.mkdir()
        self.staff.write_text(
            f'[[staff]]\nid = "apatel"\nname = "A. Patel RN"\nbadge = "B-1"\npin = "{hash_pin("2468")}"\n'
        )
        self.mount("tmpfs", "noswap,size=1g")
        self.write("swaps", "Filename Type Size Used Priority\n")
        self.write("cpuinfo", "flags : fpu aes sse2\n")
        self.write("sys/kernel/yama/ptrace_scope", "3\n")
        self.write("cmdline", "quiet init_on_free=1\n")

    def write(self, name: str, text: str) -> None:
        (self.proc / name).write_text(text)

    def mount(self, kind: str, options: str) -> None:
        device = self.spool.stat().st_dev
        dev = f"{os.major(device)}:{os.minor(device)}"
        self.write("self/mountinfo", UUID_LINE.format(dev=dev, kind=kind, options=options))

    def settings(self) -> Settings:
        return check(
            {
                "station": {"id": "a", "name": "n", "demo": True},
                "spool": {"path": str(self.spool)},
                "seal": {"cipher": self.cipher},
                "staff": {"file": str(self.staff)},
                "link": {"socket": str(self.spool.with_name("none.sock"))},
                "fhir": {"url": "http://localhost:1/fhir", "patient_systems": ["urn:x"]},
            },
            "kiosk.toml",
        )

    def findings(self) -> dict[str, Finding]:
        found = examine(self.settings(), Machine(self.proc, lambda: self.clock))
        return {f.what: f for f in found}


@pytest.fixture
def patient(tmp_path: Path) -> Patient:
    return Patient(tmp_path)


def test_a_machine_that_is_well(patient: Patient) -> None:
    found = patient.findings()
    uploader = found.pop("uploader")
    assert uploader.status is Status.WARN, "it does not run here"
    # What kind of memory file the kernel of this machine gives is its own affair.
    assert found.pop("private keys").found in (
        "in secret memory (memfd_secret)",
        "in a sealed memfd: root can read it",
    )
    assert {f.status for f in found.values()} == {Status.GOOD}, report(list(found.values()))
    assert not [f for f in found.values() if f.advice]


@pytest.mark.parametrize(
    ("what", "sick", "status"),
    [
        ("spool", lambda p: p.mount("ext4", "rw"), Status.BAD),
        ("spool", lambda p: p.mount("tmpfs", "size=1g"), Status.WARN),
        ("swap", lambda p: p.write("swaps", "Filename\n/dev/sda2 partition 1 0 -2\n"), Status.BAD),
        ("debuggers", lambda p: p.write("sys/kernel/yama/ptrace_scope", "1\n"), Status.WARN),
        ("debuggers", lambda p: (p.proc / "sys/kernel/yama/ptrace_scope").unlink(), Status.WARN),
        ("freed memory", lambda p: p.write("cmdline", "quiet init_on_free=0\n"), Status.WARN),
        ("clock", lambda p: setattr(p, "clock", False), Status.BAD),
        ("cipher", lambda p: setattr(p, "cipher", "chacha20-poly1305"), Status.WARN),
        ("staff", lambda p: p.staff.unlink(), Status.BAD),
        ("staff", lambda p: p.staff.write_text("[[staff]]\nid = 1\n"), Status.BAD),
    ],
)
def test_each_illness_is_named_with_what_to_do(
    patient: Patient, what: str, sick: object, status: Status
) -> None:
    assert callable(sick)
    sick(patient)
    found = patient.findings()
    assert found[what].status is status
    assert found[what].advice
    others = [f for f in found.values() if f.what not in (what, "uploader", "private keys", "spool size")]
    assert {f.status for f in others} == {Status.GOOD}


def test_auto_takes_chacha_without_aes_instructions(patient: Patient) -> None:
    patient.write("cpuinfo", "Features : fp asimd crc32\n")
    assert patient.findings()["cipher"] == Finding("cipher", Status.GOOD, "chacha20-poly1305")


def test_a_spool_that_is_not_made_yet_is_judged_by_where_it_will_be(patient: Patient) -> None:
    patient.spool.rmdir()
    assert patient.findings()["spool"].status is Status.GOOD


def test_the_report_can_be_read(patient: Patient) -> None:
    patient.clock = False
    text = report(list(patient.findings().values()))
    line = next(line for line in text.splitlines() if " clock " in line)
    assert line.startswith("bad ")
    assert "-> check the network and the time server" in text
