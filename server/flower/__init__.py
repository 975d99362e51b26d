"""Flower's private modules at the coordinator; nothing else of :mod:`wardround.server` imports them.

What is used of Flower 1.41: its Control API (:mod:`control`, behind a :mod:`door`), the messages of its Fleet API
(:mod:`calls`, :mod:`announcements`), its Runtime API (:mod:`grid`), the bundle that a run is started with
(:mod:`bundles`), and its command ``flower-superlink``, which this package is when it is run as a program.
"""

from wardround.server.flower.announcements import HEAD_BYTES, NAME_BYTES, count_objects
from wardround.server.flower.bundles import Bundle, bundle
from wardround.server.flower.calls import (
    FLEET_CALLS,
    FLEET_PREFIX,
    NODE_HEADERS,
    NODE_KEY_HEADER,
    SUPERLINK_NODE,
    TIME_HEADER,
    FleetCall,
    read_expected,
    read_fleet_call,
    read_offered,
    read_stored,
)
from wardround.server.flower.control import Control
from wardround.server.flower.door import word_of
from wardround.server.flower.grid import RuntimeGrid

__all__ = [
    "FLEET_CALLS",
    "FLEET_PREFIX",
    "HEAD_BYTES",
    "NAME_BYTES",
    "NODE_HEADERS",
    "NODE_KEY_HEADER",
    "SUPERLINK_NODE",
    "TIME_HEADER",
    "Bundle",
    "Control",
    "FleetCall",
    "RuntimeGrid",
    "bundle",
    "count_objects",
    "read_expected",
    "read_fleet_call",
    "read_offered",
    "read_stored",
    "word_of",
]
