"""Which connections come about: mutual TLS 1.3, certificates of members and of open invites.

grpcio has no option for the oldest version of TLS. Its list of cipher suites is that of TLS 1.2 alone, so a suite that
needs a shared key, which nobody here has, leaves TLS 1.3 (:mod:`wardround.server`). Where somebody imported gRPC before
that, older handshakes succeed, and :mod:`callers` refuses every call on them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import grpc

if TYPE_CHECKING:
    from wardround.server.consortium import Consortium


class Trust:
    """What the gateway shows and takes in handshakes; looked up anew for each, so nothing needs a restart.

    Args:
        consortium: Has the server's key and certificate, and the certificates of its authority and of open invites.
    """

    def __init__(self, consortium: Consortium) -> None:
        self._consortium = consortium
        self._shown: tuple[tuple[bytes, bytes], bytes] | None = None

    def credentials(self) -> grpc.ServerCredentials:
        """For ``add_secure_port``."""
        first = self._changed()
        return grpc.dynamic_ssl_server_credentials(first, self._changed, require_client_authentication=True)

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        now = int(time.time())
        pair, roots = self._consortium.server_credentials(now), self._consortium.trusted_roots(now)
        if (pair, roots) == self._shown:
            return None
        self._shown = pair, roots
        return grpc.ssl_server_certificate_configuration([pair], root_certificates=roots)
