"""Hypothesis, set for a busy machine: no time limits, and its first look at Unicode may take seconds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from tests.peers.real_server import RealFhirServer

settings.register_profile("kiosk", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kiosk")


@pytest.fixture(scope="session")
def real_fhir() -> Iterator[RealFhirServer]:
    """A FHIR R4 server that nobody here wrote: one process for a worker, started when it is first wanted."""
    from tests.peers.real_server import RealFhirServer

    with RealFhirServer() as server:
        yield server
