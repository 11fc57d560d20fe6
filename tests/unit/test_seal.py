from __future__ import annotations

import hashlib
import mmap
import re
import subprocess
import sys
import tracemalloc
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.hpke import Suite
from hypothesis import given, settings
from hypothesis import strategies as st

from kiosk import seal
from kiosk.destinations.base import wipe
from kiosk.errors import CannotOpen, ConfigError, SealError
from kiosk.seal import Cipher, Kind, PrivateKey, PublicKey, SealHeader

HEADER = SealHeader(
    UUID("5b1d7f5e-38b2-4f3e-9f0e-0c7c5a0d4a11"), UUID("a3f0d1c2-1111-4222-8333-444455556666"), Kind.PHOTO, 3
)
PLAIN = b"\xff\xd8 not really a JPEG, but long enough to have several blocks " * 9


def new_key() -> tuple[memoryview, PublicKey]:
    view = memoryview(bytearray(seal.KEY_BYTES))
    return view, seal.generate_into(view)


@pytest.fixture(scope="module")
def key() -> PrivateKey:
    return PrivateKey.from_buffer(new_key()[0])


@pytest.fixture(scope="module")
def sealed(key: PrivateKey) -> bytes:
    return seal.seal(key.public_key(), HEADER, PLAIN, Cipher.AES_256_GCM)


def test_format_is_what_the_docstring_says(key: PrivateKey, sealed: bytes) -> None:
    header = (
        b'{"item":"a3f0d1c2-1111-4222-8333-444455556666","kind":"photo","number":3,'
        b'"session":"5b1d7f5e-38b2-4f3e-9f0e-0c7c5a0d4a11","v":1}'
    )
    prefix = b"LETHE1\n" + len(header).to_bytes(4, "big") + header + b"\x02"
    assert sealed.startswith(prefix)
    assert len(sealed) == len(prefix) + 1120 + len(PLAIN) + 16
    info = hashlib.sha256(prefix).digest()
    assert Cipher.AES_256_GCM.suite().decrypt(sealed[len(prefix) :], key.hpke, info) == PLAIN


@pytest.mark.parametrize("cipher", Cipher)
@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("plain", [b"", b"x", PLAIN, bytes(100_000)])
def test_opens_what_was_sealed(key: PrivateKey, cipher: Cipher, kind: Kind, plain: bytes) -> None:
    header = SealHeader(uuid4(), uuid4(), kind, 9999)
    item = seal.seal(key.public_key(), header, bytearray(plain), cipher)
    assert seal.parse_header(item) == header
    opened = seal.open_sealed(key, header, memoryview(item))
    assert type(opened) is bytearray
    assert opened == plain
    parts = seal.seal_parts(key.public_key(), header, plain, cipher)
    assert seal.open_sealed(key, header, b"".join(parts)) == plain


def test_sealing_twice_differs(key: PrivateKey, sealed: bytes) -> None:
    assert seal.seal(key.public_key(), HEADER, PLAIN, Cipher.AES_256_GCM) != sealed


def test_short_plaintext_leaves_shared_bytes_objects_alone(key: PrivateKey) -> None:
    for value in range(256):
        item = seal.seal(key.public_key(), HEADER, bytes((value,)), Cipher.CHACHA20_POLY1305)
        assert seal.open_sealed(key, HEADER, item) == bytes((value,))
    assert [ord(c) for c in map(chr, range(256))] == list(bytes(range(256)))
    assert bytes((65,)) == b"A"


def test_plaintext_of_hpke_is_overwritten() -> None:
    secret = bytes(bytearray(b"secret" * 10))
    seal._overwrite(secret)
    assert secret == bytes(60)


def test_opening_leaves_only_the_callers_copy(
    key: PrivateKey, sealed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner: list[bytes] = []

    class Remembers:
        def __init__(self, suite: Suite) -> None:
            self.suite = suite

        def decrypt(self, ciphertext: memoryview, private: object, info: bytes) -> bytes:
            inner.append(self.suite.decrypt(ciphertext, key.hpke, info))
            return inner[-1]

    suite = Cipher.AES_256_GCM.suite()
    monkeypatch.setattr(Cipher, "suite", lambda self: Remembers(suite))
    assert seal.open_sealed(key, HEADER, sealed) == PLAIN
    assert inner == [bytes(len(PLAIN))]


def test_opening_in_place_needs_no_second_buffer(key: PrivateKey, sealed: bytes) -> None:
    buffer = bytearray(sealed)
    seal.open_in_place(key, HEADER, buffer)
    assert buffer == PLAIN
    changed = bytearray(sealed)
    changed[-1] ^= 1
    before = bytes(changed)
    with pytest.raises(CannotOpen):
        seal.open_in_place(key, HEADER, changed)
    assert changed == before


def test_opening_in_place_and_wiping_cost_one_item_and_nothing(key: PrivateKey) -> None:
    size = 4_000_000
    buffer = bytearray(seal.seal(key.public_key(), HEADER, bytes(size), Cipher.AES_256_GCM))
    tracemalloc.start()
    try:
        seal.open_in_place(key, HEADER, buffer)
        assert tracemalloc.get_traced_memory()[1] < 1.2 * size
        tracemalloc.reset_peak()
        buffer[:3] = b"abc"
        wipe(buffer)
        assert tracemalloc.get_traced_memory()[1] < 0.2 * size
    finally:
        tracemalloc.stop()
    assert buffer == bytes(size)


# --- tampering -------------------------------------------------------------------------------


def test_every_flipped_bit_of_the_front_and_a_sample_of_the_rest(key: PrivateKey, sealed: bytes) -> None:
    front = 7 + 4 + 150
    places = [*range(front), *range(front, len(sealed), 29), len(sealed) - 1]
    for place in places:
        for bit in (0, 7):
            changed = bytearray(sealed)
            changed[place] ^= 1 << bit
            with pytest.raises(CannotOpen):
                seal.open_sealed(key, HEADER, changed)


def test_every_truncation_and_extension(key: PrivateKey, sealed: bytes) -> None:
    for length in [*range(0, 1400, 3), *range(len(sealed) - 20, len(sealed))]:
        with pytest.raises(CannotOpen):
            seal.open_sealed(key, HEADER, sealed[:length])
    for extra in (b"\0", sealed, bytes(5000)):
        with pytest.raises(CannotOpen):
            seal.open_sealed(key, HEADER, sealed + extra)


@pytest.mark.parametrize(
    "other",
    [
        SealHeader(uuid4(), HEADER.item, HEADER.kind, HEADER.number),
        SealHeader(HEADER.session, uuid4(), HEADER.kind, HEADER.number),
        SealHeader(HEADER.session, HEADER.item, Kind.CONSENT, HEADER.number),
        SealHeader(HEADER.session, HEADER.item, HEADER.kind, 4),
    ],
)
def test_moved_or_renamed(key: PrivateKey, sealed: bytes, other: SealHeader) -> None:
    with pytest.raises(CannotOpen):
        seal.open_sealed(key, other, sealed)
    # Somebody who also rewrites the clear header to match gets no further.
    ours, theirs = HEADER.to_bytes(), other.to_bytes()
    size = len(theirs).to_bytes(4, "big")
    forged = seal.MAGIC + size + theirs + sealed[len(seal.MAGIC) + 4 + len(ours) :]
    assert seal.parse_header(forged) == other
    with pytest.raises(CannotOpen):
        seal.open_sealed(key, other, forged)


def test_other_suite_byte_and_other_key(key: PrivateKey, sealed: bytes) -> None:
    place = 7 + 4 + len(HEADER.to_bytes())
    assert sealed[place] == 2
    for code in (0, 1, 3, 255):
        with pytest.raises(CannotOpen):
            seal.open_sealed(key, HEADER, sealed[:place] + bytes((code,)) + sealed[place + 1 :])
    with pytest.raises(CannotOpen):
        seal.open_sealed(PrivateKey.from_buffer(new_key()[0]), HEADER, sealed)


@pytest.mark.parametrize(
    "header",
    [
        HEADER.to_bytes().replace(b":3", b": 3"),
        HEADER.to_bytes().replace(b'"v":1', b'"v":2'),
        HEADER.to_bytes().replace(b'"v":1', b'"v":1,"w":1'),
        HEADER.to_bytes().replace(b":3", b":3.0"),
        HEADER.to_bytes().replace(b":3", b":true"),
        HEADER.to_bytes().replace(b":3", b":-1"),
        HEADER.to_bytes().replace(b":3", b":10000"),
        HEADER.to_bytes().replace(b"photo", b"video"),
        HEADER.to_bytes().replace(b"a3f0", b"A3F0"),
        HEADER.to_bytes().replace(b'"session":"5b1d7f5e', b'"session":"\xc3\xa9b1d7f5e'),
        b"[]",
        b"null",
        b"{}",
        b"[" * 500,
        b"9" * 500,
        b"",
    ],
)
def test_headers_that_are_not_canonical(header: bytes) -> None:
    with pytest.raises(CannotOpen):
        seal.parse_header(seal.MAGIC + len(header).to_bytes(4, "big") + header + b"\x02" + bytes(2000))


def test_header_length_is_bounded() -> None:
    for length in (0, 513, 2**31, 2**32 - 1):
        with pytest.raises(CannotOpen):
            seal.parse_header(seal.MAGIC + length.to_bytes(4, "big") + bytes(3000))


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=1500), known_start=st.integers(0, 300))
def test_garbage_only_ever_raises_cannot_open(data: bytes, known_start: int) -> None:
    view, public = new_key() if not _KEY else _KEY[0]
    _KEY[:] = [(view, public)]
    start = seal.seal(public, HEADER, b"x" * 50, Cipher.AES_256_GCM)[:known_start]
    with pytest.raises(CannotOpen):
        seal.open_sealed(PrivateKey.from_buffer(view), HEADER, start + data)


_KEY: list[tuple[memoryview, PublicKey]] = []


def test_a_buffer_with_gaps_does_not_open(key: PrivateKey, sealed: bytes) -> None:
    spread = bytearray(2 * len(sealed))
    spread[::2] = sealed
    with pytest.raises(CannotOpen):
        seal.open_sealed(key, HEADER, memoryview(spread)[::2])


# --- keys ------------------------------------------------------------------------------------


def test_public_key_round_trip() -> None:
    view, public = new_key()
    assert len(public.to_bytes()) == 1216
    again = PublicKey.from_bytes(public.to_bytes())
    assert again == public == PrivateKey.from_buffer(view).public_key()
    assert hash(again) == hash(public)
    item = seal.seal(again, HEADER, PLAIN, Cipher.CHACHA20_POLY1305)
    assert seal.open_sealed(PrivateKey.from_buffer(view), HEADER, item) == PLAIN


@pytest.mark.parametrize("data", [b"", bytes(1215), bytes(1217), b"\xff" * 1216])
def test_bad_public_keys(data: bytes) -> None:
    with pytest.raises(SealError):
        PublicKey.from_bytes(data)


def test_sealing_to_a_weak_point_is_refused() -> None:
    weak = new_key()[1].to_bytes()[:1184] + bytes(32)
    with pytest.raises(SealError):
        seal.seal(PublicKey.from_bytes(weak), HEADER, PLAIN, Cipher.AES_256_GCM)


def test_keys_need_their_size_and_a_writable_view() -> None:
    for size in (0, 95, 97):
        with pytest.raises(SealError):
            PrivateKey.from_buffer(memoryview(bytearray(size)))
        with pytest.raises(SealError):
            seal.generate_into(memoryview(bytearray(size)))
    with pytest.raises(SealError):
        seal.generate_into(memoryview(bytes(96)))


def test_keys_are_fresh_and_fill_the_view() -> None:
    seen = {bytes(new_key()[0]) for _ in range(20)}
    assert len(seen) == 20
    assert all(len(set(k)) > 40 for k in seen)


def test_numbers_are_bounded() -> None:
    for number in (-1, 10_000, True, 1.0):
        with pytest.raises(SealError):
            SealHeader(uuid4(), uuid4(), Kind.PHOTO, number)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "cipher"),
    [
        ("processor : 0\nflags\t\t: fpu sse2 aes avx\n", Cipher.AES_256_GCM),
        ("Features\t: fp asimd evtstrm aes pmull sha1\n", Cipher.AES_256_GCM),
        ("Features\t: fp asimd evtstrm crc32 cpuid\n", Cipher.CHACHA20_POLY1305),
        ("model name : aes\nflags : fpu vaes\n", Cipher.CHACHA20_POLY1305),
        ("", Cipher.CHACHA20_POLY1305),
    ],
)
def test_auto_takes_aes_where_the_cpu_has_it(tmp_path: Path, text: str, cipher: Cipher) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(text)
    assert seal.choose_suite("auto", cpuinfo=cpuinfo) is cipher
    assert seal.choose_suite("aes-256-gcm", cpuinfo=cpuinfo) is Cipher.AES_256_GCM
    assert seal.choose_suite("chacha20-poly1305", cpuinfo=cpuinfo) is Cipher.CHACHA20_POLY1305


def test_auto_without_cpuinfo_and_unknown_names(tmp_path: Path) -> None:
    assert seal.choose_suite("auto", cpuinfo=tmp_path / "none") is Cipher.CHACHA20_POLY1305
    with pytest.raises(ConfigError, match="auto, aes-256-gcm, chacha20-poly1305"):
        seal.choose_suite("rot13")


COPIES = """
import mmap, sys
from kiosk import seal
from uuid import uuid4

area = mmap.mmap(-1, 4096)
view = memoryview(area)[:96]
header = seal.SealHeader(uuid4(), uuid4(), seal.Kind.PHOTO, 1)
for _ in range(3):
    public = seal.generate_into(view)
    sealed = seal.seal(public, header, b"x" * 1000, seal.Cipher.AES_256_GCM)
    assert seal.open_sealed(seal.PrivateKey.from_buffer(view), header, sealed) == b"x" * 1000
if sys.argv[1] == "copy":
    kept = bytes(view)

# The needles are masked, or they would find themselves.
masked = [bytearray(b ^ 0x5A for b in view[start:start + 16]) for start in (0, 16, 32, 48, 64, 80)]
view.release(); area.close()

hits = 0
with open("/proc/self/maps") as maps:
    regions = [line.split() for line in maps if "rw" in line.split()[1]]
with open("/proc/self/mem", "rb", buffering=0) as memory:
    for region in regions:
        first, last = (int(x, 16) for x in region[0].split("-"))
        try:
            memory.seek(first)
            content = bytearray(memory.read(last - first) or b"")
        except (OSError, OverflowError, ValueError):
            continue
        for needle in masked:
            plain = bytearray(b ^ 0x5A for b in needle)
            hits += content.count(plain)
            plain[:] = bytes(len(plain))
        content[:] = bytes(len(content))
print("hits", hits)
"""


@pytest.mark.parametrize("mode", ["none", "copy"])
def test_no_copy_of_a_private_key_stays_in_the_process(mode: str) -> None:
    """With a positive control: a bytes object of the key is found."""
    out = subprocess.run([sys.executable, "-c", COPIES, mode], check=True, capture_output=True, text=True)
    match = re.fullmatch(r"hits (\d+)\n", out.stdout)
    assert match is not None
    assert (int(match[1]) == 0) is (mode == "none")


def test_private_key_from_a_memory_map() -> None:
    with mmap.mmap(-1, 4096) as area, memoryview(area) as whole, whole[128:224] as view:
        public = seal.generate_into(view)
        item = seal.seal(public, HEADER, PLAIN, Cipher.AES_256_GCM)
        key = PrivateKey.from_buffer(view)
        view[:] = bytes(96)
        assert seal.open_sealed(key, HEADER, item) == PLAIN
