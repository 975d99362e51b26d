"""The one door of the coordinator: gRPC over mutual TLS 1.3, which every hospital's agent connects to.

In the order in which data passes: :mod:`tls` (who may connect), :mod:`callers` (who is calling), :mod:`quotas` (how
much), :mod:`turnstile` (in which turn), :mod:`calls` (around every call), then :mod:`tunnel` (Flower's Fleet calls of
the caller's own node, and what it :mod:`held` before) or
:mod:`federation` (enrolment, rosters, studies, decisions), :mod:`hub` (what the agents are told), and
:mod:`gateway` (all of it).
"""

from wardround.server.gateway.gateway import Gateway, Hooks

__all__ = ["Gateway", "Hooks"]
