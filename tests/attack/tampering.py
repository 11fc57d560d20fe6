"""What somebody who can write into the spool can do to a sealed session. Each name says what was done."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from uuid import uuid4

from kiosk.seal import MAGIC

Tamper = Callable[[Path, Path], object]
"""Called with the victim's directory, and with a sound session's, which is only read."""
PHOTO, CONSENT, MANIFEST = "photo", "consent", "manifest"
ENCAPSULATED = {"encapsulated ML-KEM key": 1088, "encapsulated X25519 key": 32}
TAG = 16


def items(directory: Path, kind: str) -> list[Path]:
    """The session's items of one kind, by number."""
    return sorted(p for p in directory.iterdir() if p.name.split("-")[1] == kind)


def regions(sealed: bytes) -> dict[str, range]:
    """Every part of a sealed item, in its order; together they are the whole item."""
    length_at = len(MAGIC)
    header_at = length_at + 4
    suite_at = header_at + int.from_bytes(sealed[length_at:header_at], "big")
    parts = {"magic": range(length_at), "length": range(length_at, header_at)}
    header = sealed[header_at:suite_at]
    for field in ("item", "kind", "number", "session", "v"):
        start = header_at + header.index(b'"%s"' % field.encode())
        parts[f"header's {field}"] = range(start + len(field) + 3, start + len(field) + 4)
    parts["suite"] = range(suite_at, suite_at + 1)
    place = suite_at + 1
    for name, size in ENCAPSULATED.items():
        parts[name] = range(place, place + size)
        place += size
    parts["ciphertext"] = range(place, len(sealed) - TAG)
    parts["tag"] = range(len(sealed) - TAG, len(sealed))
    return parts


REGIONS = (
    *("magic", "length", "header's item", "header's kind", "header's number", "header's session"),
    *("header's v", "suite", *ENCAPSULATED, "ciphertext", "tag"),
)


def flip(kind: str, region: str, victim: Path, donor: Path) -> None:
    path = items(victim, kind)[0]
    data = bytearray(path.read_bytes())
    part = regions(bytes(data))[region]
    data[part[len(part) // 2]] ^= 1
    path.write_bytes(data)


def cut(region: str, victim: Path, donor: Path) -> None:
    path = items(victim, PHOTO)[0]
    os.truncate(path, regions(path.read_bytes())[region].start)


def extend(victim: Path, donor: Path) -> None:
    with items(victim, PHOTO)[0].open("ab") as file:
        file.write(b"\0")


def swap_within(victim: Path, donor: Path) -> None:
    one, two = items(victim, PHOTO)
    first = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(first)


def swap_names(victim: Path, donor: Path) -> None:
    one, two = items(victim, PHOTO)
    one.rename(victim / "aside")
    two.rename(one)
    (victim / "aside").rename(two)


def from_other(kind: str, victim: Path, donor: Path) -> None:
    """The other session's bytes under this session's name."""
    items(victim, kind)[0].write_bytes(items(donor, kind)[0].read_bytes())


def moved_over(kind: str, victim: Path, donor: Path) -> None:
    """The other session's item, name and all, in the place of ours."""
    items(victim, kind)[0].unlink()
    shutil.copy(items(donor, kind)[0], victim)


def added_from_other(victim: Path, donor: Path) -> None:
    shutil.copy(items(donor, PHOTO)[0], victim)


def rename(change: Callable[[list[str]], list[str]], victim: Path, donor: Path) -> None:
    path = items(victim, PHOTO)[0]
    number, kind, *item = path.name.split("-")
    path.rename(victim / "-".join(change([number, kind, "-".join(item)])))


def duplicate(kind: str, victim: Path, donor: Path) -> None:
    """One more of a kind, under a number and an id of its own."""
    path = items(victim, kind)[0]
    shutil.copy(path, victim / f"0009-{kind}-{uuid4()}.sealed")


def again(victim: Path, donor: Path) -> None:
    """The same photograph once more, under another number but its own id."""
    path = items(victim, PHOTO)[0]
    shutil.copy(path, victim / f"0009{path.name[4:]}")


def remove(kind: str, victim: Path, donor: Path) -> None:
    items(victim, kind)[-1].unlink()


def hard_link(victim: Path, donor: Path) -> None:
    path = items(victim, PHOTO)[0]
    os.link(path, victim / "aside")


def symlink(victim: Path, donor: Path) -> None:
    path = items(victim, PHOTO)[0]
    path.rename(victim / "aside")
    path.symlink_to("aside")


TAMPERS: dict[str, Tamper] = {
    **{f"flip the photograph's {r}": partial(flip, PHOTO, r) for r in REGIONS},
    **{f"flip the manifest's {r}": partial(flip, MANIFEST, r) for r in REGIONS},
    **{f"flip the consent's {r}": partial(flip, CONSENT, r) for r in REGIONS},
    **{f"cut before the {r}": partial(cut, r) for r in REGIONS},
    "extend by a byte": extend,
    "swap two photographs": swap_within,
    "swap the names of two photographs": swap_names,
    **{f"another session's {k} under our name": partial(from_other, k) for k in (PHOTO, CONSENT, MANIFEST)},
    **{f"another session's {k} in place of ours": partial(moved_over, k) for k in (PHOTO, CONSENT, MANIFEST)},
    "another session's photograph as well": added_from_other,
    "rename": partial(rename, lambda n: [n[0], n[1], f"{uuid4()}.sealed"]),
    "renumber": partial(rename, lambda n: ["0007", *n[1:]]),
    **{
        f"call a photograph {k}": partial(rename, lambda n, k=k: [n[0], k, n[2]])
        for k in (CONSENT, MANIFEST, "film")
    },
    **{f"a second {k}": partial(duplicate, k) for k in (PHOTO, CONSENT, MANIFEST)},
    "the same photograph again": again,
    **{f"no {k}": partial(remove, k) for k in (PHOTO, CONSENT, MANIFEST)},
    "a hard link to a photograph": hard_link,
    "a symlink to a photograph": symlink,
}
