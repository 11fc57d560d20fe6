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
    (line,) = complaints(FHIR.format('auth = "none"'), tmp_path)
    assert 'auth = "none" away from this machine; allowed: "basic", "client-secret", "smart", "mtls"' in line
    good = FHIR.format("").replace("https://fhir.hospital.example", "http://127.0.0.1:8080")
    (tmp_path / "good.toml").write_text(good)
    assert load(tmp_path / "good.toml").fhir.auth == "none"


FHIR = """
[station]
id = "a"
name = "A"
demo = true
[fhir]
url = "https://fhir.hospital.example/r4"
patient_systems = ["urn:x"]
{}
"""
BASIC = 'auth = "basic"\nuser = "u"\npassword_file = "pw"\n'
CLIENT = 'auth = "client-secret"\nclient_id = "c"\nclient_secret_file = "/etc/kiosk/secret"\n'
SMART = 'auth = "smart"\nclient_id = "c"\nkey_file = "key"\n'
MTLS = 'auth = "mtls"\nclient_cert_file = "/c.pem"\nclient_key_file = "k"\n'


@pytest.mark.parametrize(
    "lines",
    [
        *(BASIC, CLIENT, SMART, MTLS),
        CLIENT + 'client_secret_method = "post"\nscopes = []\n',
        SMART + 'key_id = "k1"\ntoken_url = "https://login.example/t/"\nscopes = ["system/*.write"]\n',
        SMART + 'client_cert_file = "/c.pem"\nclient_key_file = "/k.pem"\n',
        MTLS + 'client_id = "c"\ntoken_url = "https://login.example/t"\n',
    ],
)
def test_every_way_to_sign_on(lines: str, tmp_path: Path) -> None:
    (tmp_path / "kiosk.toml").write_text(FHIR.format(lines), encoding="utf-8")
    fhir = load(tmp_path / "kiosk.toml").fhir
    assert fhir.token_url is None or "/t/" not in lines or fhir.token_url.endswith("/t/")
    assert all(key.endswith("_file") and name in lines for key, name in fhir.secrets.items())
    assert fhir.secrets


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ('auth = "basic"', 'auth = "basic" needs user and password_file; allowed: both set'),
        ('auth = "client-secret"\nclient_id = "c"', "needs client_id and client_secret_file"),
        ('auth = "smart"\nkey_file = "k"', 'auth = "smart" needs client_id and key_file'),
        ('auth = "mtls"', "needs client_cert_file and client_key_file"),
        (
            SMART + 'password_file = "pw"',
            'password_file says nothing with auth = "smart"; allowed: with auth',
        ),
        (BASIC + 'scopes = ["x"]', "scopes says nothing with"),
        (CLIENT + 'key_id = "x"', 'key_id says nothing with auth = "client-secret"'),
        (BASIC + 'client_cert_file = "/c.pem"', "belong together; allowed: both or neither"),
        (MTLS + 'token_url = "https://login.example/t"', "need client_id"),
        (SMART + 'scopes = ["a b"]', "scopes.0: found 'a b'; allowed: a list of scopes"),
        (SMART + 'token_url = "http://login.example/t"', "the token endpoint, https://"),
        (SMART.replace('"key"', '"../key"'), "key_file: found '../key'; allowed: a credential's name"),
        (SMART.replace('"key"', '"a/b"'), "allowed: a credential's name (systemd) or an absolute path"),
        (MTLS.replace('"/c.pem"', '"c.pem"'), "client_cert_file: found 'c.pem'; allowed: an absolute path"),
        (BASIC.replace('"u"', '"u:v"'), "without a colon"),
        ('auth = "digest"', '"client-secret", "smart" or "mtls"'),
    ],
)
def test_ways_that_are_not_whole(lines: str, says: str, tmp_path: Path) -> None:
    (line,) = complaints(FHIR.format(lines), tmp_path)
    assert says in line
    assert "[fhir]" in line


def test_secret_files_that_are_here_are_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secret, path = tmp_path / "secret", tmp_path / "kiosk.toml"
    path.write_text(FHIR.format(CLIENT.replace("/etc/kiosk/secret", str(secret))))
    assert main(["config", "check", str(path)]) == 0
    secret.write_text("hunter2")
    secret.chmod(0o644)
    assert main(["config", "check", str(path)]) == EXIT_CONFIG
    said = capsys.readouterr().err
    assert f"{secret}: [fhir] client_secret_file is open to others (mode 0644); allowed: " in said
    assert "hunter2" not in said
    secret.chmod(0o400)
    assert main(["config", "check", str(path)]) == 0


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ('syslog_host = "h"', "needs syslog_ca_file"),
        ('syslog_ca_file = "/etc/ca.pem"', "without syslog_host"),
        ('syslog_host = "h"\nsyslog_ca_file = "/ca"\nsyslog_cert_file = "/c"', "go together"),
        ('syslog_host = "h"\nsyslog_ca_file = "/ca"\nsyslog_key_file = "/k"', "go together"),
        ('syslog_host = "h"\nsyslog_ca_file = "ca.pem"', "an absolute path"),
        ('syslog_host = "user@h/x"', "host name or address"),
        ('syslog_host = "-h"', "host name or address"),
        ("syslog_port = 0", "from 1 to 65535"),
        ('syslog_port = "6514"', "from 1 to 65535"),
        ("syslog_tls = false", "not known here"),
    ],
)
def test_a_collector_is_whole_or_not_there(lines: str, says: str, tmp_path: Path) -> None:
    text = EXAMPLE.read_text(encoding="utf-8").replace("[audit] ", f"[audit]\n{lines}\n#")
    (found,) = complaints(text, tmp_path)
    assert "[audit]" in found
    assert says in found


@pytest.mark.parametrize("host", ["syslog.hospital.example", "10.0.0.7", "::1", "fd00::7", "h"])
def test_a_collector_has_a_name_or_an_address(host: str, tmp_path: Path) -> None:
    lines = f'syslog_host = "{host}"\nsyslog_ca_file = "/ca.pem"'
    path = tmp_path / "kiosk.toml"
    path.write_text(EXAMPLE.read_text(encoding="utf-8").replace("[audit] ", f"[audit]\n{lines}\n#"))
    assert load(path).audit.syslog_host == host


def test_receipts_need_a_system_of_their_own(tmp_path: Path) -> None:
    text = EXAMPLE.read_text(encoding="utf-8").replace(
        '#: receipt_system = "urn:lethe:receipt"', 'receipt_system = "urn:lethe:photo"'
    )
    assert any(
        "receipt_system" in line and "two different URIs" in line for line in complaints(text, tmp_path)
    )


def test_what_becomes_of_withdrawn_photographs_is_one_of_two(tmp_path: Path) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    shown = '#: on_withdrawal = "entered-in-error"'
    path = tmp_path / "kiosk.toml"
    path.write_text(text.replace(shown, 'on_withdrawal = "keep"'), encoding="utf-8")
    assert load(path).fhir.on_withdrawal == "keep"
    wrong = text.replace(shown, 'on_withdrawal = "delete"')
    assert any("[fhir] on_withdrawal" in line and '"keep"' in line for line in complaints(wrong, tmp_path))


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

    value = tomllib.loads(f"x = {text}")["x"]
    return tuple(value) if isinstance(value, list) else value


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
