"""Hypothesis, set for a busy machine: no time limits, and its first look at Unicode may take seconds."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("kiosk", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kiosk")
