"""An open coordinator's folder: its keys, its certificates, its database."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Self

from wardround.common.crypto import certificates
from wardround.common.errors import WardroundError
from wardround.server.consortium import folder
from wardround.server.files import read_private
from wardround.server.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    from wardround.common.crypto.signing import SigningKey
    from wardround.server.consortium.settings import CoordinatorSettings
    from wardround.server.store import Store


class Opened:
    """A coordinator's folder; as a context manager it closes its database.

    Args:
        path: The folder.
        open_database: Opens a database by its URL.

    Raises:
        WardroundError: WR-1914, the folder is not one, is damaged, or is open to other accounts; WR-1915, the database
            cannot be used, or is not this consortium's.
    """

    def __init__(self, path: Path, open_database: Callable[[str], Store] = open_store) -> None:
        self.path = path
        self.settings: CoordinatorSettings = folder.check_folder(path)
        self.authority: SigningKey = folder.read_authority(path)
        self.store: Store = open_database(folder.database_url(path, self.settings))
        try:
            folder.check_claimed(self.store, self.authority)
        except WardroundError:
            self.store.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        self.store.close()

    @property
    def name(self) -> str:
        """Of the consortium."""
        return self.settings.name

    @cached_property
    def certificate_authority(self) -> x509.Certificate:
        """What sites' and the gateway's certificates are signed with."""
        return folder.read_pem(self.path / folder.CA)

    @cached_property
    def _authority_key(self) -> ec.EllipticCurvePrivateKey:
        return folder.read_key(self.path / folder.CA_KEY)

    @property
    def server_certificate(self) -> x509.Certificate:
        """The gateway's certificate as it is now on disk."""
        return folder.read_pem(self.path / folder.SERVER)

    def server_credentials(self, now: int) -> tuple[bytes, bytes]:
        """Private key and certificate of the gateway, PEM; the certificate is renewed when its end is near.

        The key stays, so the pin in invite codes does too.

        Raises:
            WardroundError: WR-1914, a file is missing, damaged or open to other accounts.
        """
        certificate = self.server_certificate
        left = certificate.not_valid_after_utc.timestamp() - now
        if left < self.settings.certificates.renew_days * folder.DAY:
            certificate = folder.write_server_certificate(self.path, self.settings, now)
        return read_private(self.path / folder.SERVER_KEY), certificates.pem(certificate).encode()
