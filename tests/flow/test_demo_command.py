"""`kiosk demo` as people call it: exit status, one JSON object a line, and errors that name the line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kiosk.demo.fhir_server import DemoFhirServer
from tests.flow.story import kiosk, play

SHORT = "wait LOCKED 30\nshot locked\n"


def demo(*arguments: str, script: str | None = None, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    more: list[str] = []
    if script is not None:
        path = tmp_path / "story.txt"
        path.write_text(script, encoding="utf-8")
        more = ["--script", str(path)]
    environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    command = [sys.executable, "-m", "kiosk", "demo", *more, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)


def test_without_a_display_it_plays_the_happy_path(tmp_path: Path) -> None:
    done = demo("--screens", str(tmp_path / "shots"), tmp_path=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    receipts = [line for line in lines if line["event"] == "receipt"]
    assert receipts[-1]["photos"] == 2
    assert done.stderr.endswith(": 2 photographs proven in the record.\n")
    assert len(list((tmp_path / "shots").glob("*.png"))) == 10
    for secret in ("OKONKWO", "9991230009", "2468", "Adaeze"):
        assert secret not in done.stdout + done.stderr


def test_a_failed_step_ends_with_1_and_names_its_line(tmp_path: Path) -> None:
    done = demo("--headless", script=SHORT + 'tap "No such thing"\n', tmp_path=tmp_path)
    assert done.returncode == 1
    assert "story.txt:3: tap failed in LOCKED" in done.stderr


def test_a_wrong_script_says_every_line_before_anything_starts(tmp_path: Path) -> None:
    done = demo("--headless", script="fly\nwait LOCKED\nswim\n", tmp_path=tmp_path)
    assert done.returncode == 78
    assert done.stdout == ""
    assert "story.txt:1: unknown step" in done.stderr
    assert "story.txt:3: unknown step" in done.stderr


def test_a_script_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = demo("--headless", "--script", str(tmp_path / "none.txt"), tmp_path=tmp_path)
    assert done.returncode == 78
    assert "none.txt: cannot be read" in done.stderr


def test_it_delivers_to_another_server(tmp_path: Path) -> None:
    with DemoFhirServer() as server:
        done = demo("--headless", "--fhir", server.base_url, tmp_path=tmp_path)
        assert done.returncode == 0, done.stderr
        assert server.store.count("Binary") == 2
        assert server.crashes == []


def test_network_steps_need_the_built_in_server(tmp_path: Path) -> None:
    with DemoFhirServer() as server:
        done = demo("--headless", "--fhir", server.base_url, script="network down\n", tmp_path=tmp_path)
    assert done.returncode == 1
    assert "story.txt:1" in done.stderr


def test_a_config_of_ones_own_is_used_and_checked(tmp_path: Path) -> None:
    config = tmp_path / "kiosk.toml"
    example = Path(__file__).parents[2] / "kiosk.example.toml"
    config.write_text(example.read_text(encoding="utf-8"), encoding="utf-8")
    script = SHORT + 'expect "Wound clinic, room 2"\n'
    done = demo("--headless", "--config", str(config), script=script, tmp_path=tmp_path)
    assert done.returncode == 0, done.stderr
    config.write_text("[station]\nid = 7\n", encoding="utf-8")
    done = demo("--headless", "--config", str(config), script=SHORT, tmp_path=tmp_path)
    assert done.returncode == 78
    assert "[station] id" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["fly"], ["ui"], ["config", "check"]])
def test_the_command_line_explains_itself(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "kiosk", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "usage: kiosk" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_however_it_ends_no_process_stays(tmp_path: Path, number: signal.Signals) -> None:
    path = tmp_path / "story.txt"
    path.write_text("wait LOCKED 30\npause 60\n", encoding="utf-8")
    command = [sys.executable, "-m", "kiosk", "demo", "--headless", "--script", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        lines = (json.loads(line) for line in process.stdout)
        pid = next(line["pid"] for line in lines if line["event"] == "state")
        directory = _directory_of(pid)
        process.send_signal(number)
        process.wait(20)
        deadline = time.monotonic() + 10
        while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not Path(f"/proc/{pid}").exists()
        assert number is signal.SIGKILL or not directory.exists()
    shutil.rmtree(directory, ignore_errors=True)


def _directory_of(pid: int) -> Path:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return Path(words[words.index(b"--config") + 1].decode()).parent


def test_nothing_is_left_in_memory(tmp_path: Path) -> None:
    script = SHORT + 'tap "No such thing"\n'
    done = demo("--headless", script=script, tmp_path=tmp_path)
    pid = next(m["pid"] for m in map(json.loads, done.stdout.splitlines()) if m["event"] == "state")
    assert done.returncode == 1
    assert not Path(f"/proc/{pid}").exists()


def test_the_doctor_looks_at_a_running_kiosk() -> None:
    with kiosk() as running:
        play(running, "wait LOCKED 30", "wait network 20")
        command = [sys.executable, "-m", "kiosk", "doctor", "--config", str(running.config)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "running; 0 waiting, 0 parked, record server reachable" in done.stdout, done.stdout + done.stderr
    assert "good  link" in done.stdout
    assert "good  staff" in done.stdout
    memory = next(line for line in done.stdout.splitlines() if "uploader's memory" in line)
    assert "no core files, nothing swapped" in memory
