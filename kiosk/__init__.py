"""Lethe: the firmware of a clinical photo kiosk."""

__version__ = "0.1.0"
