"""The hospital: its data, its training, its evaluation, its decisions."""

import os

# gRPC reads both once, when it is imported, and Flower imports it.
os.environ["GRPC_SSL_CIPHER_SUITES"] = "ECDHE-PSK-CHACHA20-POLY1305"  # of TLS 1.2, and unusable: TLS 1.3 only
os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # it prints every handshake that fails
