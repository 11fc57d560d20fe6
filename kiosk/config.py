"""kiosk.toml becomes frozen Settings, or one ConfigError that holds every complaint at once.

The description of a field is the sentence that says what is allowed; a complaint quotes it.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from kiosk import tomlfile
from kiosk.errors import ConfigError
from kiosk.model import PHOTO_BYTES_PER_PIXEL, PHOTOS_MAX

_SECRET = re.compile(r"pass|secret|token|pin\b|badge|key\b", re.IGNORECASE)
_SHOWN = 60
_FILE_MAX = 256 * 1024


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _path(value: str) -> str:
    if not value.startswith("/"):
        raise ValueError("not absolute")
    return value


def is_loopback(host: str | None) -> bool:
    """Whether this host name or address never leaves the machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
        host = parts.hostname
        _ = parts.port
    except ValueError as e:
        raise ValueError("not a URL") from e
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("more than scheme, host and path")
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))):
        raise ValueError("scheme or host not allowed")
    return value.rstrip("/")


def _uri(value: str) -> str:
    if not re.fullmatch(r"(https?://|urn:)[^\s|]+", value):
        raise ValueError("not a URI")
    return value


def _secret_file(value: str) -> str:
    if not value.startswith("/") and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}", value):
        raise ValueError("neither an absolute path nor a credential's name")
    return value


def _endpoint(value: str) -> str:
    """As a base, but kept to the letter: servers compare a token endpoint with what was signed."""
    _url(value)
    return value


AbsolutePath = Annotated[str, AfterValidator(_path)]
SecretFile = Annotated[str, AfterValidator(_secret_file)]
Endpoint = Annotated[str, AfterValidator(_endpoint)]
# RFC 6749, 3.3: a scope has no space, quotation mark or backslash.
Scope = Annotated[str, Field(pattern=r"^[\x21\x23-\x5b\x5d-\x7e]+$", max_length=200)]
Url = Annotated[str, AfterValidator(_url)]
Uri = Annotated[str, AfterValidator(_uri)]
Pin = Annotated[int, Field(ge=0, le=27)]
Seconds = Annotated[int, Field(ge=5, le=3600)]


class Station(_Section):
    """Which kiosk this is."""

    id: str = Field(
        pattern=r"^[a-z0-9][a-z0-9-]{0,38}$",
        description="1 to 39 small letters, digits and hyphens; unique in the hospital",
    )
    name: str = Field(min_length=1, max_length=60, description="1 to 60 characters, shown on the lock screen")
    demo: bool = Field(
        default=False, description="true or false; true allows simulated parts and says so on the screen"
    )
    group: str | None = Field(
        default=None,
        pattern=r"^[a-z_][a-z0-9_-]{0,31}$",
        description="the Unix group that the ui's and the uploader's users share; unset: one user runs both",
    )


class Screen(_Section):
    """The panel."""

    size: str = Field(
        default="800x480",
        pattern=r"^[1-9][0-9]{2,3}x[1-9][0-9]{2,3}$",
        description="WIDTHxHEIGHT in pixels, for example 800x480 or 720x1280",
    )

    @property
    def pixels(self) -> tuple[int, int]:
        """Width and height."""
        width, height = self.size.split("x")
        return int(width), int(height)


class Camera(_Section):
    """The camera."""

    driver: Literal["simulated"] = Field(
        default="simulated", description='"simulated" (needs [station] demo = true)'
    )
    still: str = Field(
        default="4608x2592",
        pattern=r"^[1-9][0-9]{2,3}x[1-9][0-9]{2,3}$",
        description="WIDTHxHEIGHT of photographs in pixels, for example 4608x2592",
    )
    jpeg_quality: int = Field(default=93, ge=60, le=100, description="a whole number from 60 to 100")
    deadline_s: float = Field(
        default=3.0, ge=0.2, le=30, strict=False, description="seconds from 0.2 to 30 for one camera call"
    )

    @property
    def still_pixels(self) -> tuple[int, int]:
        """Width and height."""
        width, height = self.still.split("x")
        return int(width), int(height)


class Panel(_Section):
    """Button, light and lamp, by BCM GPIO number."""

    shutter_pin: Pin = Field(default=17, description="a BCM GPIO number from 0 to 27")
    light_pin: Pin = Field(default=27, description="a BCM GPIO number from 0 to 27, none used twice")
    lamp_pin: Pin = Field(default=22, description="a BCM GPIO number from 0 to 27, none used twice")

    @model_validator(mode="after")
    def _apart(self) -> Panel:
        if len({self.shutter_pin, self.light_pin, self.lamp_pin}) < 3:
            raise ValueError("one pin is used twice; allowed: three different BCM GPIO numbers")
        return self


class Spool(_Section):
    """The waiting room in memory."""

    path: AbsolutePath = Field(
        default="/run/kiosk/spool", description="an absolute path on tmpfs, below /run or /dev/shm"
    )
    capacity_mb: int = Field(default=512, ge=16, le=65536, description="a whole number from 16 to 65536")
    reserve_mb: int = Field(
        default=130,
        ge=1,
        le=65536,
        description="room for one session: twenty photographs; smaller than capacity_mb",
    )

    @model_validator(mode="after")
    def _fits(self) -> Spool:
        if self.reserve_mb >= self.capacity_mb:
            raise ValueError("reserve_mb is not smaller than capacity_mb; allowed: less than capacity_mb")
        return self


class Link(_Section):
    """How ui and uploader talk."""

    socket: AbsolutePath = Field(
        default="/run/kiosk/link.sock",
        max_length=100,
        description="an absolute path of at most 100 characters",
    )


class Staff(_Section):
    """Who may sign in."""

    file: AbsolutePath = Field(
        default="/etc/kiosk/staff.toml", description="an absolute path of the staff file"
    )
    max_tries: int = Field(default=5, ge=3, le=10, description="a whole number from 3 to 10")
    lock_seconds: int = Field(default=300, ge=30, le=86400, description="a whole number from 30 to 86400")


_KEPT_IN = "a credential's name (systemd) or an absolute path of a file that only the uploader can read"
_AUTH_NEEDS: dict[str, tuple[str, ...]] = {
    "none": (),
    "basic": ("user", "password_file"),
    "client-secret": ("client_id", "client_secret_file"),
    "smart": ("client_id", "key_file"),
    "mtls": ("client_cert_file", "client_key_file"),
}
_TOKENS = ("client-secret", "smart", "mtls")
_AUTH_KEYS: dict[str, tuple[str, ...]] = {
    "user": ("basic",),
    "password_file": ("basic",),
    "client_id": _TOKENS,
    "client_secret_file": ("client-secret",),
    "client_secret_method": ("client-secret",),
    "key_file": ("smart",),
    "key_id": ("smart",),
    "token_url": _TOKENS,
    "scopes": _TOKENS,
}
"""Key of [fhir] -> the values of auth that use it."""
SCOPES = (
    "system/Patient.rs",
    "system/Practitioner.rs",
    "system/Appointment.rs",
    "system/Encounter.rs",
    "system/RelatedPerson.crus",
    "system/DocumentReference.crus",
    "system/Binary.crud",
    "system/Consent.crus",
    "system/Provenance.crds",
    "system/AuditEvent.cus",
)
"""What the kiosk does, as SMART 2 scopes."""


class Fhir(_Section):
    """The record server."""

    url: Url = Field(
        description="the FHIR R4 base, https://…, or http:// on this machine only; "
        "no user name, password or question mark"
    )
    patient_systems: tuple[Uri, ...] = Field(
        min_length=1,
        strict=False,
        description="a list of identifier system URIs that wristbands carry, at least one",
    )
    location: str | None = Field(
        default=None,
        pattern=r"^Location/[A-Za-z0-9.-]{1,64}$",
        description='"Location/…", the reference of this place on the server; unset: no list of today',
    )
    photo_system: Uri = Field(
        default="urn:lethe:photo",
        description="the identifier system URI for photographs (https://… or urn:…)",
    )
    attachment_urls: tuple[Url, ...] | None = Field(
        default=None,
        strict=False,
        description="a list of addresses below which the server gives photographs back, where that is not "
        "below url: https://…, without user name, password or question mark",
    )
    receipt_system: Uri = Field(
        default="urn:lethe:receipt",
        description="the identifier system URI for receipts (https://… or urn:…), other than photo_system",
    )
    on_withdrawal: Literal["entered-in-error", "keep"] = Field(
        default="entered-in-error",
        description='what becomes of photographs whose record consent is withdrawn: "entered-in-error" '
        'or "keep"',
    )
    auth: Literal["none", "basic", "client-secret", "smart", "mtls"] = Field(
        default="none",
        description='"none" (a server on this machine only), "basic", "client-secret", "smart" or "mtls"',
    )
    user: str | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        pattern=r"^[^:\x00-\x1f\x7f]*$",
        description='the user name for auth = "basic": 1 to 100 characters without a colon',
    )
    password_file: SecretFile | None = Field(default=None, description=_KEPT_IN)
    client_id: str | None = Field(
        default=None,
        pattern=r"^[\x20-\x7e]+$",
        max_length=200,
        description="the client id that the authorization server gave, 1 to 200 characters of ASCII",
    )
    client_secret_file: SecretFile | None = Field(default=None, description=_KEPT_IN)
    client_secret_method: Literal["basic", "post"] = Field(
        default="basic", description='"basic" (in the header) or "post" (in the form)'
    )
    key_file: SecretFile | None = Field(
        default=None, description=f"{_KEPT_IN}: the private key that signs, PEM"
    )
    key_id: str | None = Field(
        default=None,
        pattern=r"^[\x21-\x7e]+$",
        max_length=200,
        description="the kid of the public key in the JWKS; unset: its RFC 7638 thumbprint",
    )
    token_url: Endpoint | None = Field(
        default=None,
        description="the token endpoint, https://…; unset: what url/.well-known/smart-configuration says",
    )
    scopes: tuple[Scope, ...] = Field(
        default=SCOPES,
        strict=False,
        description="a list of scopes, one string each; empty: the server decides",
    )
    client_cert_file: AbsolutePath | None = Field(
        default=None, description="an absolute path of our certificate with its chain (PEM)"
    )
    client_key_file: SecretFile | None = Field(
        default=None, description=f"{_KEPT_IN}: the key of client_cert_file, PEM"
    )
    ca_file: AbsolutePath | None = Field(
        default=None, description="an absolute path of the hospital's CA certificates (PEM)"
    )
    connect_s: float = Field(default=5.0, ge=0.5, le=60, strict=False, description="seconds from 0.5 to 60")
    read_s: float = Field(default=30.0, ge=1, le=300, strict=False, description="seconds from 1 to 300")

    @model_validator(mode="after")
    def _auth_is_whole(self) -> Fhir:
        needs = _AUTH_NEEDS[self.auth]
        if not all(getattr(self, key) for key in needs):
            both = " and ".join(needs)
            raise ValueError(f'auth = "{self.auth}" needs {both}; allowed: both set')
        if self.auth == "none" and not is_loopback(urlsplit(self.url).hostname):
            others = ", ".join(f'"{name}"' for name in _AUTH_NEEDS if name != "none")
            raise ValueError(f'auth = "none" away from this machine; allowed: {others}')
        for key, users in _AUTH_KEYS.items():
            if key in self.model_fields_set and self.auth not in users:
                known = " or ".join(f'auth = "{name}"' for name in users)
                raise ValueError(f'{key} says nothing with auth = "{self.auth}"; allowed: with {known}')
        if self.auth == "mtls" and self.client_id is None and {"token_url", "scopes"} & self.model_fields_set:
            raise ValueError(
                'token_url and scopes with auth = "mtls" need client_id; '
                "allowed: client_id too (a token by certificate), or none of the three"
            )
        if bool(self.client_cert_file) != bool(self.client_key_file):
            raise ValueError("client_cert_file and client_key_file belong together; allowed: both or neither")
        return self

    @model_validator(mode="after")
    def _systems_differ(self) -> Fhir:
        if self.receipt_system == self.photo_system:
            raise ValueError("receipt_system is photo_system; allowed: two different URIs")
        return self

    @property
    def secrets(self) -> dict[str, str]:
        """Key -> name or path of every secret file that is set."""
        keys = ("password_file", "client_secret_file", "key_file", "client_key_file")
        return {key: name for key in keys if (name := getattr(self, key))}


class Delivery(_Section):
    """When to try again."""

    first_retry_s: float = Field(
        default=2.0, ge=0.1, le=60, strict=False, description="seconds from 0.1 to 60"
    )
    max_retry_s: float = Field(
        default=60.0, ge=1, le=3600, strict=False, description="seconds from 1 to 3600"
    )
    attempt_s: float = Field(
        default=600.0, ge=10, le=3600, strict=False, description="seconds from 10 to 3600 for one attempt"
    )
    probe_s: float = Field(
        default=10.0, ge=0.2, le=600, strict=False, description="seconds from 0.2 to 600 between looks"
    )


class Timeouts(_Section):
    """Seconds without a touch before a state ends. Unset ones keep the workflow's own."""

    locked: Seconds | None = Field(default=None, description="seconds from 5 to 3600")
    sign_in: Seconds | None = Field(default=None, description="seconds from 5 to 3600")
    identify: Seconds | None = Field(default=None, description="seconds from 5 to 3600")
    today: Seconds | None = Field(default=None, description="seconds from 5 to 3600")
    confirm_patient: Seconds | None = Field(default=None, description="seconds from 5 to 3600")
    consent: Seconds | None = Field(default=None, description="seconds from 5 to 3600")
    body_site: Seconds | None = Field(default=None, description="seconds from 5 to 3600")
    preview: Seconds | None = Field(default=None, description="seconds from 5 to 3600")
    review: Seconds | None = Field(default=None, description="seconds from 5 to 3600")
    summary: Seconds | None = Field(default=None, description="seconds from 5 to 3600")
    receipt: Seconds | None = Field(default=None, description="seconds from 5 to 3600")
    declined: Seconds | None = Field(default=None, description="seconds from 5 to 3600")
    withdrawn: Seconds | None = Field(default=None, description="seconds from 5 to 3600")
    find_receipt: Seconds | None = Field(default=None, description="seconds from 5 to 3600")
    found_receipt: Seconds | None = Field(default=None, description="seconds from 5 to 3600")
    correction: Seconds | None = Field(default=None, description="seconds from 5 to 3600")
    fault: Seconds | None = Field(default=None, description="seconds from 5 to 3600")


class Seal(_Section):
    """Sealing at rest."""

    cipher: Literal["auto", "aes-256-gcm", "chacha20-poly1305"] = Field(
        default="auto",
        description='"auto" (AES where the processor has it), "aes-256-gcm" or "chacha20-poly1305"',
    )


class Audit(_Section):
    """Where audit entries go besides the kiosk's own log. No syslog_host: nowhere."""

    syslog_host: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9:]([A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?$",
        description="the collector's host name or address as its certificate says it",
    )
    syslog_port: int = Field(default=6514, ge=1, le=65535, description="a TCP port from 1 to 65535")
    syslog_ca_file: AbsolutePath | None = Field(
        default=None, description="an absolute path of the CA certificates (PEM) of the collector"
    )
    syslog_cert_file: AbsolutePath | None = Field(
        default=None, description="an absolute path of the kiosk's own certificate (PEM), if one is asked for"
    )
    syslog_key_file: AbsolutePath | None = Field(
        default=None, description="an absolute path of that certificate's key (PEM), not encrypted"
    )

    @model_validator(mode="after")
    def _whole(self) -> Audit:
        if self.syslog_host and not self.syslog_ca_file:
            raise ValueError("syslog_host needs syslog_ca_file; allowed: both set")
        if bool(self.syslog_cert_file) != bool(self.syslog_key_file):
            raise ValueError("syslog_cert_file and syslog_key_file go together; allowed: both set, or none")
        if not self.syslog_host and (self.syslog_ca_file or self.syslog_cert_file):
            raise ValueError("files for a collector without syslog_host; allowed: syslog_host set")
        return self


class Settings(_Section):
    """The whole configuration, frozen."""

    station: Station
    screen: Screen = Screen()
    camera: Camera = Camera()
    panel: Panel = Panel()
    spool: Spool = Spool()
    seal: Seal = Seal()
    link: Link = Link()
    staff: Staff = Staff()
    fhir: Fhir
    delivery: Delivery = Delivery()
    audit: Audit = Audit()
    timeouts: Timeouts = Timeouts()

    @model_validator(mode="after")
    def _simulated_only_in_demo(self) -> Settings:
        if self.camera.driver == "simulated" and not self.station.demo:
            raise ValueError(
                'camera.driver is "simulated" outside demo mode; allowed: [station] demo = true on a laptop'
            )
        return self

    @model_validator(mode="after")
    def _a_session_fits(self) -> Settings:
        width, height = self.camera.still_pixels
        needed = int(PHOTOS_MAX * width * height * PHOTO_BYTES_PER_PIXEL / 1e6) + 2
        if self.spool.reserve_mb < needed:
            raise ValueError(
                f"spool.reserve_mb does not hold {PHOTOS_MAX} photographs of {self.camera.still}; "
                f"allowed: {needed} or more"
            )
        return self


def load(path: Path) -> Settings:
    """Read and check `path`. Raises ConfigError with every complaint."""
    return check(tomlfile.load(path, _FILE_MAX), str(path))


def check(raw: dict[str, Any], source: str) -> Settings:
    """Validate a parsed TOML document. `source` is the file's name for the complaints."""
    try:
        return Settings.model_validate(raw)
    except ValidationError as e:
        found = e.errors(include_url=False)
    # Raised out here: the validation error quotes values and must not be chained.
    raise ConfigError(tomlfile.shortened([_complaint(source, raw, dict(f)) for f in found]))


def _complaint(source: str, raw: dict[str, Any], fault: dict[str, Any]) -> str:
    loc = tuple(fault["loc"])
    if not loc:
        # Two sections disagree: our own sentence starts with the key to change.
        key, _, rest = str(fault["msg"]).removeprefix("Value error, ").partition(" ")
        section, _, name = key.partition(".")
        return f"{source}: [{section}] {name}: {rest}"
    names = [_printable(str(part)) for part in loc]
    where = f"{source}: [{names[0]}] {'.'.join(names[1:])}" if len(loc) > 1 else f"{source}: [{names[0]}]"
    kind = fault["type"]
    if kind == "missing":
        what = "key" if len(loc) > 1 else "section"
        return f"{where}: this {what} is missing; allowed: {_allowed(loc)}"
    if kind == "extra_forbidden":
        return f"{where}: not known here; allowed: {_known(loc)}"
    if kind == "value_error" and "allowed:" in str(fault.get("msg", "")):
        return f"{where}: {str(fault['msg']).removeprefix('Value error, ')}"
    return f"{where}: found {_found(raw, loc)}; allowed: {_allowed(loc)}"


def _printable(text: str) -> str:
    """As it is where it is short and plain: a key can be anything."""
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"


def _field(loc: tuple[Any, ...]) -> Any:
    section = Settings.model_fields.get(str(loc[0])) if loc else None
    if section is None or len(loc) < 2:
        return section
    model = section.annotation
    fields = getattr(model, "model_fields", {})
    return fields.get(str(loc[1]))


def _allowed(loc: tuple[Any, ...]) -> str:
    field = _field(loc)
    text = getattr(field, "description", None)
    return text or f"a [{loc[0]}] section with {_known((*loc, ''))}"


def _known(loc: tuple[Any, ...]) -> str:
    if len(loc) < 2:
        return ", ".join(f"[{name}]" for name in Settings.model_fields)
    section = Settings.model_fields.get(str(loc[0]))
    return ", ".join(getattr(getattr(section, "annotation", None), "model_fields", {})) or "nothing"


def _found(raw: dict[str, Any], loc: tuple[Any, ...]) -> str:
    if any(
        _SECRET.search(str(part))
        for part in loc
        if "file" not in str(part) and not str(part).endswith("_pin")
    ):
        return "a value (hidden)"
    value: Any = raw
    for part in loc:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return "nothing"
    if isinstance(value, dict) or (isinstance(value, list) and value):
        # What is in there may be called password.
        return "a table" if isinstance(value, dict) else "a list"
    # A URL can carry a password before its @ or behind its ?, whatever its key is called.
    text = re.sub(r".*@", "(hidden)@", str(value), flags=re.DOTALL)
    text = re.sub(r"\?.*", "?(hidden)", text, flags=re.DOTALL)
    return _printable(repr(text if isinstance(value, str) else value))
