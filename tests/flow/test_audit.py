"""The audit, from sessions on both real processes to `kiosk audit verify` on IT's desk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from kiosk.__main__ import main
from kiosk.demo.supervisor import Demo
from tests.collector import Authority, Collector, until
from tests.flow.story import PHOTO, PROOF, SEND, TO_PREVIEW, events, kiosk, photographs, play, spool_is_empty


def log_of(demo: Demo, path: Path) -> Path:
    path.write_bytes((demo.directory / "audit.jsonl").read_bytes())
    return path


def anchors_of(demo: Demo, path: Path) -> Path:
    """What IT downloads: a search of its own server."""
    with urlopen(f"{demo.server.base_url}/AuditEvent") as answer:
        path.write_bytes(answer.read())
    return path


def entries(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_bytes().splitlines()]


def test_two_sessions_are_verified_against_the_record_and_a_cut_is_seen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with kiosk() as demo:
        play(demo, TO_PREVIEW, PHOTO, SEND, PROOF)
        # The key survives this one, and so does the chain.
        demo.kill("uploader")
        play(demo, "wait uploader-ready 30", "wait uploader-ready 30", TO_PREVIEW, PHOTO, SEND, PROOF)
        log, anchors = log_of(demo, tmp_path / "audit.jsonl"), anchors_of(demo, tmp_path / "anchors.json")
        assert "not-anchored" not in [line["event"] for line in demo.events]
        told = json.dumps(demo.server.store.all("AuditEvent"))
    command = ["audit", "verify", str(log), "--anchors", str(anchors)]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "anchors of this boot: 2;" in out
    assert "entries after the last anchor: 1;" in out
    said = entries(log)
    assert [e["action"] for e in said].count("started") == 1, "one key for the boot"
    assert [e["outcome"] for e in said if e["action"] == "delivered"] == ["ok", "ok"]
    assert {e["operator"] for e in said} == {None, "apatel"}
    assert len({e["id"] for e in said}) == len(said)
    assert not [word for word in ("OKONKWO", "Adaeze", "9991230009") if word.lower() in told.lower()]
    assert told.count("Patient/demo-patient-1") == 2

    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:-1]))
    assert main(command) == 0, "what lies after the last anchor can be cut off unseen, as it said"
    log.write_bytes(b"".join(lines[:-2]))
    assert main(command) == 1
    assert "cut short before" in capsys.readouterr().out
    log.write_bytes(b"".join(lines[:3] + lines[4:]))
    assert main(command) == 1
    log.write_bytes(b"".join(lines).replace(b'"operator":"apatel"', b'"operator":"mjones"', 1))
    assert main(command) == 1
    assert "changed" in capsys.readouterr().out


@pytest.mark.parametrize("fault", ["status 405", "status 403", "status 404", "status 422"])
def test_a_server_without_audit_events_gets_the_session_all_the_same(fault: str, tmp_path: Path) -> None:
    with kiosk() as demo:
        demo.set_fault(f"{fault} on=*:/fhir/AuditEvent")
        play(demo, TO_PREVIEW, PHOTO, SEND, PROOF)
        assert len(photographs(demo)) == 1
        assert demo.server.store.count("AuditEvent") == 0
        assert spool_is_empty(demo)
        assert len(events(demo, "wiped")) == 1
        (said,) = events(demo, "not-anchored")
        assert said["problem"] in ("rejected", "not-let-in")
        last = entries(log_of(demo, tmp_path / "audit.jsonl"))[-1]
    assert (last["action"], last["outcome"]) == ("delivered", "not-anchored")
    assert main(["audit", "verify", str(tmp_path / "audit.jsonl")]) == 0


def test_a_server_that_hangs_over_the_audit_event_does_not_hold_up_the_receipt() -> None:
    with kiosk(read_s=60.0) as demo:
        demo.set_fault("delay 50 on=PUT:/fhir/AuditEvent")
        play(demo, TO_PREVIEW, PHOTO, SEND, PROOF)
        (said,) = events(demo, "not-anchored")
        assert said["problem"] == "delivery-interrupted"
        assert spool_is_empty(demo)


def test_every_entry_reaches_the_hospitals_collector(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    authority = Authority(tmp_path)
    with Collector(tmp_path, authority, authority.certify("collector", "127.0.0.1")) as collector:
        template = tmp_path / "template.toml"
        template.write_text(
            f"""
[station]
id = "demo"
name = "Wound clinic, demonstration"
demo = true
[fhir]
url = "http://127.0.0.1:9/fhir"
patient_systems = ["urn:x"]
[audit]
syslog_host = "127.0.0.1"
syslog_port = {collector.port}
syslog_ca_file = "{authority.file}"
"""
        )
        with kiosk(template=template) as demo:
            play(demo, TO_PREVIEW, PHOTO, SEND, PROOF)
            whole = log_of(demo, tmp_path / "audit.jsonl")
            until(lambda: collector.lines() == whole.read_bytes().splitlines())
            anchors = anchors_of(demo, tmp_path / "anchors.json")
            assert [line["online"] for line in events(demo, "syslog")] == [True]
        # The kiosk is gone, and its log with it: the collector has what can be verified.
        assert not demo.directory.exists()
        assert main(["audit", "verify", str(collector.messages), "--anchors", str(anchors)]) == 0
        assert "anchors of this boot: 1;" in capsys.readouterr().out
