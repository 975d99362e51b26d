"""Identity on the coordinator's side: its folder, who belongs to the consortium, what is proposed and decided.

In the order in which data passes: :mod:`settings`, :mod:`folder` and :mod:`opened` (what lies on disk), :mod:`requests`
(what is checked without the database), :mod:`membership` (invite, enrol, renew, revoke), :mod:`consortium` (all of it,
and studies), :mod:`export`.
"""

from wardround.server.consortium.consortium import Consortium, create_consortium
from wardround.server.consortium.settings import CoordinatorSettings

__all__ = ["Consortium", "CoordinatorSettings", "create_consortium"]
