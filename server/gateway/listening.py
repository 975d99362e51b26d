"""Why nothing can listen on an address: gRPC does not say."""

from __future__ import annotations

import errno
import socket
from typing import Final

from wardround.common.errors import WardroundError

_FIXES: Final = {
    errno.EADDRNOTAVAIL: "This machine does not have that address: set listen in coordinator.toml, or serve --listen, "
    "to one of its own; 0.0.0.0:PORT is all of them.",
    errno.EACCES: "Ports below 1024 need a right of their own: set listen to a higher port and forward to it, or give "
    "the service CAP_NET_BIND_SERVICE.",
}
_FREE: Final = "End the other program, or set listen in coordinator.toml, or serve --listen, to a free port."
_CHECK: Final = "Check listen in coordinator.toml, or serve --listen: host:port of this machine."


def why_not(listen: str) -> WardroundError:
    """What the system says about an address on which gRPC could not listen.

    Args:
        listen: ``host:port``.

    Returns:
        WR-1916, the port is taken; WR-1940, whatever else it is.
    """
    host, _, port = listen.rpartition(":")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(address)
            tried.listen()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return WardroundError("WR-1916", f"The port of {listen} is taken by another program.", fix=_FREE)
        fix = _FIXES.get(error.errno or 0, _CHECK)
        return WardroundError("WR-1940", f"Nothing can listen on {listen}: {error.strerror}.", fix=fix)
    return WardroundError("WR-1940", f"gRPC could not listen on {listen}; now it is free.", fix="Start again.")
