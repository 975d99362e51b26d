"""``coordinator.toml``: what the coordinator's staff set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from wardround.common.consortium.enrolment import Address
from wardround.common.errors import WardroundError
from wardround.common.roster import Text
from wardround.common.study import parse_toml, validated

if TYPE_CHECKING:
    from pathlib import Path

FILE: Final = "coordinator.toml"
_CORRECT: Final = f"Correct what is named in {FILE}; deploy/docs/coordinator.md describes every field."

HostName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:\-]{1,253}$")]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DatabaseSettings(_Table):
    """Where the database is.

    Attributes:
        url: ``postgresql://user@host/name``; empty: the file coordinator.db in the coordinator's folder.
    """

    url: Annotated[str, StringConstraints(max_length=2000)] = ""


class GatewaySettings(_Table):
    """What one site may ask of the gateway.

    Attributes:
        max_message_mb: Largest part of a message, in 2^20 bytes; models and updates travel in parts of at most 5.
        calls_per_second: Calls of one site, on average; a burst may be ten seconds' worth.
        megabytes_per_minute: Bytes that one site sends, in 2^20, on average; at once ten minutes' worth, 512 at most.
        streams: Calls of one site at the same time.
        deadline_seconds: Longest time that a call other than Watch may take.
    """

    max_message_mb: Annotated[int, Field(ge=1, le=2047)] = 8
    calls_per_second: Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)] = 200.0
    megabytes_per_minute: Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)] = 6_000.0
    streams: Annotated[int, Field(ge=2, le=1000)] = 32
    deadline_seconds: Annotated[float, Field(ge=1, le=86_400, allow_inf_nan=False)] = 600.0


class CertificateSettings(_Table):
    """How long certificates last, and what the gateway's names.

    Attributes:
        days: How long a site's certificate is valid.
        renew_days: The gateway's own certificate, valid for 397 days, is renewed this long before its end.
        names: Further host names and addresses of the gateway; they are in its next certificate.
    """

    days: Annotated[int, Field(ge=1, le=825)] = 90
    renew_days: Annotated[int, Field(ge=1, le=300)] = 30
    names: Annotated[tuple[HostName, ...], Field(max_length=100)] = ()


class RunSettings(_Table):
    """When a round goes on without a site. No site is cut off for being slow: its agent calls while it works.

    Attributes:
        silent_seconds: Without a call of its agent for so long, a site is silent.
        grace_seconds: After the coordinator's start, sites that have not called yet are waited for so long.
    """

    silent_seconds: Annotated[float, Field(ge=1, le=86_400, allow_inf_nan=False)] = 40.0
    grace_seconds: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)] = 60.0


class CoordinatorSettings(_Table):
    """The consortium and its gateway.

    Attributes:
        schema: Version of this format.
        name: Of the consortium; it is in every certificate and signed document and never changes.
        address: ``host:port`` under which hospitals reach the gateway.
        listen: ``host:port`` on which the gateway listens.
        database: Where the database is.
        gateway: What one site may ask.
        certificates: How long certificates last.
        runs: When a round goes on without a site.
    """

    schema_: Literal[1] = Field(alias="schema", default=1)
    name: Annotated[Text, Field(min_length=1)]
    address: Address
    listen: Address = "0.0.0.0:8443"
    database: DatabaseSettings = DatabaseSettings()
    gateway: GatewaySettings = GatewaySettings()
    certificates: CertificateSettings = CertificateSettings()
    runs: RunSettings = RunSettings()

    @property
    def host(self) -> str:
        """The host of :attr:`address`, without brackets."""
        return self.address.rpartition(":")[0].removeprefix("[").removesuffix("]")

    def as_toml(self) -> bytes:
        """For the file."""
        return tomli_w.dumps(self.model_dump(mode="json", by_alias=True)).encode()


def read_settings(folder: Path) -> CoordinatorSettings:
    """Read ``coordinator.toml`` of a folder.

    Raises:
        WardroundError: WR-1914, it is missing or damaged.
    """
    try:
        text = (folder / FILE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WardroundError("WR-1914", f"No {FILE} can be read ({type(error).__name__}).") from error
    try:
        fields = parse_toml(text)
    except WardroundError as error:
        raise WardroundError("WR-1914", f"{FILE} is damaged: {error.what}", fix=_CORRECT) from None
    try:
        return validated(CoordinatorSettings, fields, "WR-1914", FILE)
    except WardroundError as error:
        raise WardroundError("WR-1914", error.what, fix=_CORRECT) from None
