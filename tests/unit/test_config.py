"""kiosk.toml: every complaint at once, no secret echoed, and an example that is complete."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from kiosk.__main__ import EXIT_CONFIG, main
from kiosk.config import Settings, check, load
from kiosk.errors import ConfigError
from kiosk.flow import SECONDS

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "kiosk.example.toml"

FIVE_MISTAKES = """
[station]
id = "Bad Id!"
nme = "x"
demo = true

[screen]
size = "big"

[panel]
light_pin = 99

[fhir]
url = "http://user:hunter2@example.org/r4"
patient_systems = []
auth = "basic"
password = "hunter2"
"""


def complaints(text: str, tmp_path: Path) -> tuple[str, ...]:
    path = tmp_path / "kiosk.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path)
    return caught.value.complaints


def test_every_complaint_at_once(tmp_path: Path) -> None:
    found = complaints(FIVE_MISTAKES, tmp_path)
    keys = ["[station] id", "[station] name", "[station] nme", "[screen] size", "[panel] light_pin"]
    keys += ["[fhir] url", "[fhir] patient_systems", "[fhir] password"]
    for key in keys:
        assert sum(f": {key}: " in line for line in found) == 1, key
    assert all("allowed: " in line and str(tmp_path / "kiosk.toml") in line for line in found)


def test_no_secret_is_echoed(tmp_path: Path) -> None:
    assert "hunter2" not in "\n".join(complaints(FIVE_MISTAKES, tmp_path))
    wrong_kind = '[station]\nid = "a"\nname = "n"\ndemo = true\n[fhir]\nurl = "https://s3cr3t@h/x"\n'
    assert "s3cr3t" not in "\n".join(complaints(wrong_kind, tmp_path))


def test_the_command_prints_them_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "kiosk.toml"
    path.write_text(FIVE_MISTAKES, encoding="utf-8")
    assert main(["config", "check", str(path)]) == EXIT_CONFIG
    assert len(capsys.readouterr().err.splitlines()) == 8
    assert main(["config", "check", str(EXAMPLE)]) == 0
    assert "good" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "says"),
    [("[station", "not TOML"), ("", "[station]"), ("a = 1", "not known here")],
)
def test_broken_files_are_named(text: str, says: str, tmp_path: Path) -> None:
    assert any(says in line for line in complaints(text, tmp_path))


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b'[station]\nname = "\xe9"\n')
    with pytest.raises(ConfigError, match="UTF-8"):
        load(tmp_path / "latin.toml")


def test_simulated_parts_need_the_demo_switch(tmp_path: Path) -> None:
    text = EXAMPLE.read_text(encoding="utf-8").replace("demo = true ", "demo = false")
    assert any("simulated" in line and "demo = true" in line for line in complaints(text, tmp_path))


@pytest.mark.parametrize(
    "url", ["http://fhir.hospital.example/r4", "ftp://h/x", "https://", "https://h/x?a=b", "h"]
)
def test_only_https_leaves_this_machine(url: str, tmp_path: Path) -> None:
    text = re.sub(r'url = ".*"', f'url = "{url}"', EXAMPLE.read_text(encoding="utf-8"))
    assert any("[fhir] url" in line for line in complaints(text, tmp_path))


def test_no_authentication_only_on_this_machine(tmp_path: Path) -> None:
    text = EXAMPLE.read_text(encoding="utf-8").replace('auth = "basic"', 'auth = "none"')
    assert any('auth = "none"' in line for line in complaints(text, tmp_path))


def test_the_example_is_complete_and_shows_the_defaults() -> None:
    settings = load(EXAMPLE)
    text = EXAMPLE.read_text(encoding="utf-8")
    for section, field in Settings.model_fields.items():
        model = field.annotation
        assert isinstance(model, type)
        assert issubclass(model, BaseModel)
        body = text.split(f"[{section}]", 1)[1].split("\n[", 1)[0]
        for key, inner in model.model_fields.items():
            match = re.search(rf"^(#: )?{key} = (.*?)(\s+#.*)?$", body, re.MULTILINE)
            assert match, f"the example lacks [{section}] {key}"
            if match[1] and inner.default is not None:
                shown = check_value(match[2])
                assert shown == inner.default, f"[{section}] {key}: the example shows another default"
    assert settings.station.demo is True


def test_the_example_shows_the_workflow_time_outs() -> None:
    body = EXAMPLE.read_text(encoding="utf-8").split("[timeouts]")[1]
    shown = dict(re.findall(r"^#: (\w+) = (\d+)", body, re.MULTILINE))
    assert {k: int(v) for k, v in shown.items()} == {s.name.lower(): n for s, n in SECONDS.items()}


def check_value(text: str) -> object:
    import tomllib

    return tomllib.loads(f"x = {text}")["x"]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from([*Settings.model_fields, "x"]), _JSON, max_size=5))
def test_any_document_is_settings_or_complaints(raw: dict[str, object]) -> None:
    found: tuple[str, ...] = ("good",)
    try:
        check(raw, "kiosk.toml")
    except ConfigError as e:
        found = e.complaints
    assert found
    assert all(len(line) < 400 for line in found)


def test_a_reserve_that_holds_no_session_is_named(tmp_path: Path) -> None:
    text = EXAMPLE.read_text(encoding="utf-8").replace("#: reserve_mb = 130", "reserve_mb = 100")
    (found,) = complaints(text, tmp_path)
    assert ": [spool] reserve_mb: does not hold 20 photographs of 4608x2592; allowed: 121 or more" in found


@pytest.mark.parametrize("place", ["Location/x-1.2", None])
def test_places(place: str | None) -> None:
    assert check(_with_place(place), "kiosk.toml").fhir.location == place


@pytest.mark.parametrize("place", ["Location/", "location/x", "Location/a b", "Practitioner/x", "x", ""])
def test_wrong_places(place: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(_with_place(place), "kiosk.toml")
    (complaint,) = caught.value.complaints
    assert complaint.startswith("kiosk.toml: [fhir] location: found ")
    assert 'allowed: "Location/' in complaint


def _with_place(place: str | None) -> dict[str, object]:
    fhir = {"url": "http://127.0.0.1:1/fhir", "patient_systems": ["urn:x"]}
    station = {"id": "a", "name": "A", "demo": True}
    return {"station": station, "fhir": {**fhir, **({} if place is None else {"location": place})}}
