"""Which refusals may leave a hospital with their sentence."""

from __future__ import annotations

from typing import Final

SPOKEN: Final = ("WR-1301", "WR-1302", "WR-1304", "WR-17")
"""Refusals whose sentence may leave: they speak of messages, keys and cohorts, not of the data or of settings."""
