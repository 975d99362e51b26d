"""What a hospital has got by joining: who it is in which consortium, and the keys and certificates of its connection.

``membership.toml`` names the gateway and the site; ``tls/site.key``, ``tls/site.pem`` and ``tls/ca.pem`` are for the
connection, ``node.key`` is that of the Flower node. Keys are readable by the site's account only and never leave.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import tomli_w
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pydantic import BaseModel, ConfigDict, Field

from wardround.client.home import write_atomically
from wardround.common.consortium.enrolment import Address
from wardround.common.errors import WardroundError
from wardround.common.roster import Site, Text
from wardround.common.study import parse_toml, validated

if TYPE_CHECKING:
    from wardround.common.consortium.enrolment import Admission

MEMBERSHIP: Final = "membership.toml"
SITE_KEY, SITE_CERTIFICATE, AUTHORITY = Path("tls/site.key"), Path("tls/site.pem"), Path("tls/ca.pem")
NODE_KEY: Final = "node.key"
_MEND: Final = "Join (wardround hospital join), or restore the hospital's folder from its backup."


class Membership(BaseModel):
    """``membership.toml``.

    Attributes:
        schema: Version of this format.
        address: ``host:port`` of the gateway.
        consortium: Its name.
        site: The hospital's name in it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: Literal[1] = Field(default=1, alias="schema")
    address: Address
    consortium: Annotated[Text, Field(min_length=1)]
    site: Site


def read_membership(home: Path) -> Membership:
    """Read ``membership.toml`` of a home folder.

    Raises:
        WardroundError: WR-1914, it is missing or damaged.
    """
    text = _read(home / MEMBERSHIP).decode("utf-8", "replace")
    try:
        fields = parse_toml(text)
    except WardroundError as error:
        raise WardroundError("WR-1914", f"{MEMBERSHIP} is damaged: {error.what}", fix=_MEND) from None
    return validated(Membership, fields, "WR-1914", MEMBERSHIP)


def store_membership(home: Path, admission: Admission, site_key: bytes, node_key: bytes) -> None:
    """Write what an admission brought; ``membership.toml`` comes last, so that it is there only with all the rest.

    Args:
        home: The home folder.
        admission: From the coordinator.
        site_key: Private key of the certificate, PEM.
        node_key: Private key of the Flower node, PEM.
    """
    (home / "tls").mkdir(mode=0o700, exist_ok=True)
    write_atomically(home / NODE_KEY, node_key, mode=0o600)
    store_certificate(home, site_key, admission.certificate, admission.certificate_authority)
    membership = Membership(
        address=admission.address, consortium=admission.roster.roster.consortium, site=admission.site
    )
    content = tomli_w.dumps(membership.model_dump(mode="json", by_alias=True)).encode()
    write_atomically(home / MEMBERSHIP, content)


def store_certificate(home: Path, site_key: bytes, certificate: str, authority: str) -> None:
    """Write a certificate, also a renewed one, with its key.

    Key and certificate are two files: between the two writes they do not belong together, and
    :func:`site_credentials` says so.
    """
    write_atomically(home / AUTHORITY, authority.encode())
    write_atomically(home / SITE_KEY, site_key, mode=0o600)
    write_atomically(home / SITE_CERTIFICATE, certificate.encode())


def site_credentials(home: Path) -> tuple[bytes, bytes, bytes]:
    """Private key, certificate and the consortium's authority, PEM.

    Raises:
        WardroundError: WR-1914, a file is missing or a key is open to other accounts.
    """
    return _private(home / SITE_KEY), _read(home / SITE_CERTIFICATE), _read(home / AUTHORITY)


def node_key(home: Path) -> ec.EllipticCurvePrivateKey:
    """The private key of the Flower node, ECDSA P-384.

    Raises:
        WardroundError: WR-1914, it is missing, damaged or open to other accounts.
    """
    try:
        key = load_pem_private_key(_private(home / NODE_KEY), password=None)
    except ValueError:
        raise WardroundError("WR-1914", f"{NODE_KEY} is damaged.", fix=_MEND) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP384R1):
        raise WardroundError("WR-1914", f"{NODE_KEY} is not a P-384 key.", fix=_MEND)
    return key


def _private(path: Path) -> bytes:
    content = _read(path)
    if path.stat().st_mode & 0o077:
        fix = f"Take the rights of others away (chmod 600 {path.name}), and find out who read it."
        raise WardroundError("WR-1914", f"{path.name} is open to other accounts of this machine.", fix=fix)
    return content


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return os.read(file.fileno(), 1 << 20)
    except OSError as error:
        raise WardroundError("WR-1914", f"{path.name} cannot be read ({type(error).__name__}).", fix=_MEND) from error
