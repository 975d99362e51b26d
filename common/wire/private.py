"""The typed messages of private mode: envelopes around the bytes of the secure sum's protocol.

Each carries one message of :mod:`wardround.common.secagg.messages`; the Flower message type says which:

=====================  ==============================  ==========================
Flower type            down                            up
=====================  ==============================  ==========================
``query.advertise``    session context                 ``Advert``
``query.join``         all adverts                     ``Joined``
``train.private``      round context, and the model    ``Upload``, and y_v
``query.confirm``      ``ConfirmRequest``              ``Confirmation``
``query.open``         ``OpenRequest``                 ``Opening``
``query.ended``        ``AttemptEnded``                nothing
``query.finished``     nothing                         nothing
=====================  ==============================  ==========================

A reply holds the site's name and these bytes, nothing else: no count, no loss, no time.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from wardround.common.wire.base import RunContext, SiteReply

ADVERTISE: Final = "query.advertise"
JOIN: Final = "query.join"
UPLOAD: Final = "train.private"
CONFIRM: Final = "query.confirm"
OPEN: Final = "query.open"
ENDED: Final = "query.ended"
FINISHED: Final = "query.finished"

ProtocolBytes = Annotated[bytes, Field(max_length=1 << 20)]
"""One message of the protocol; the largest, an upload of a cohort of 128, has 543 kB."""


class ProtocolMessage(RunContext):
    """From the coordinator to a site."""

    content: ProtocolBytes


class ProtocolReply(SiteReply):
    """From a site to the coordinator."""

    content: ProtocolBytes = b""
