"""The coordinator's folder: what :func:`create_consortium` puts there, and how it is read back.

``coordinator.toml`` settings; ``authority.key`` the Ed25519 key that signs rosters, proposals and answers of the
witness; ``tls/ca.key`` and ``tls/ca.pem`` the certificate authority; ``tls/server.key`` and ``tls/server.pem`` the
gateway's; ``coordinator.db`` the database, where it is SQLite. Folder and files are their owner's alone.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from wardround.common.crypto import certificates
from wardround.common.crypto.signing import SigningKey
from wardround.common.errors import WardroundError
from wardround.server.consortium.settings import FILE, CoordinatorSettings, read_settings
from wardround.server.files import check_private, make_private_folder, read_private, write_private
from wardround.server.store import open_store

if TYPE_CHECKING:
    from cryptography import x509

    from wardround.server.store import Store

DAY: Final = 86_400
AUTHORITY_DAYS: Final = 20 * 365
SERVER_DAYS: Final = 397

AUTHORITY_KEY: Final = "authority.key"
CA_KEY, CA = Path("tls/ca.key"), Path("tls/ca.pem")
SERVER_KEY, SERVER = Path("tls/server.key"), Path("tls/server.pem")
DATABASE: Final = "coordinator.db"
_OWNER: Final = "authority"
"""Setting in the database: the authority whose it is."""


def create_folder(path: Path, settings: CoordinatorSettings, now: int) -> None:
    """Make a new consortium's folder with its keys and its database.

    ``coordinator.toml`` is written last: a folder without it is unfinished, and is refused everywhere. What cannot be
    finished is taken back.

    Raises:
        WardroundError: WR-1914, the folder is not empty; WR-1915, the database cannot be used or is another
            consortium's.
    """
    make_private_folder(path)
    try:
        _fill(path, settings, now)
    except BaseException:
        for item in path.iterdir():  # it was empty; the next attempt finds it so
            shutil.rmtree(item) if item.is_dir() else item.unlink()
        raise


def _fill(path: Path, settings: CoordinatorSettings, now: int) -> None:
    for name in ("tls", "log", "runs", "weights"):
        (path / name).mkdir(mode=0o700)
    authority = SigningKey.generate(os.urandom)
    write_private(path / AUTHORITY_KEY, authority.private)
    key, server = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca = certificates.make_authority(key, settings.name, at=now, until=now + AUTHORITY_DAYS * DAY)
    write_private(path / CA_KEY, certificates.key_pem(key))
    write_private(path / CA, certificates.pem(ca).encode())
    write_private(path / SERVER_KEY, certificates.key_pem(server))
    write_server_certificate(path, settings, now)
    store = open_store(database_url(path, settings))
    try:
        claim(store, authority)
    finally:
        store.close()
    write_private(path / FILE, settings.as_toml())


def claim(store: Store, authority: SigningKey) -> None:
    """Check that a database is this authority's; a new one becomes it.

    Raises:
        WardroundError: WR-1915, it is another consortium's.
    """
    with store.transaction():
        owner = store.setting(_OWNER)
        if owner is None:
            store.set_setting(_OWNER, authority.public.hex())
        elif owner != authority.public.hex():
            raise WardroundError(
                "WR-1915", "The database is another consortium's.", fix="Set database.url to this consortium's own."
            )


def check_claimed(store: Store, authority: SigningKey) -> None:
    """Check that a database is this authority's.

    Raises:
        WardroundError: WR-1915, it is another consortium's, or a new one.
    """
    if store.setting(_OWNER) != authority.public.hex():
        fix = "Set database.url to the consortium's own, or restore the database from its backup."
        raise WardroundError("WR-1915", "The database is empty or another consortium's.", fix=fix)


def database_url(path: Path, settings: CoordinatorSettings) -> str:
    """The database of a folder."""
    return settings.database.url or f"sqlite:///{(path / DATABASE).absolute()}"


def check_folder(path: Path) -> CoordinatorSettings:
    """Settings of a folder that is whole and its owner's alone.

    Raises:
        WardroundError: WR-1914, it is not.
    """
    if not path.is_dir():
        raise WardroundError("WR-1914", "The coordinator's folder is not there.")
    check_private(path)
    return read_settings(path)


def read_authority(path: Path) -> SigningKey:
    """The key that signs for the consortium.

    Raises:
        WardroundError: WR-1914, it is missing, damaged or open to other accounts.
    """
    try:
        return SigningKey(read_private(path / AUTHORITY_KEY))
    except ValueError:
        raise WardroundError("WR-1914", f"{AUTHORITY_KEY} is damaged.") from None


def read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """A TLS key of the folder.

    Raises:
        WardroundError: WR-1914, it is missing, damaged or open to other accounts.
    """
    try:
        key = load_pem_private_key(read_private(path), password=None)
    except ValueError:
        raise WardroundError("WR-1914", f"{path.name} is damaged.") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise WardroundError("WR-1914", f"{path.name} is not an elliptic curve key.")
    return key


def read_pem(path: Path) -> x509.Certificate:
    """A certificate of the folder.

    Raises:
        WardroundError: WR-1914, it is missing or damaged.
    """
    try:
        return certificates.read_certificate(path.read_bytes())
    except (OSError, WardroundError) as error:
        raise WardroundError("WR-1914", f"{path.name} is missing or damaged.") from error


def write_server_certificate(path: Path, settings: CoordinatorSettings, now: int) -> x509.Certificate:
    """Issue a certificate for the server's key, which stays the same, and write it."""
    ca, key = read_pem(path / CA), read_key(path / CA_KEY)
    names = tuple(dict.fromkeys((settings.host, *settings.certificates.names)))
    public = read_key(path / SERVER_KEY).public_key()
    issued = certificates.issue_server(ca, key, public, names, at=now, until=now + SERVER_DAYS * DAY)
    write_private(path / SERVER, certificates.pem(issued).encode())
    return issued
