"""The spool that most of its tests want."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID, uuid4

import pytest

from kiosk.spool import Spool
from tests.spool_tools import make


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return make(tmp_path / "spool")


@pytest.fixture
def session(spool: Spool) -> UUID:
    session = uuid4()
    spool.begin(session)
    return session
