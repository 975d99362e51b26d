"""What the worker sees of the agent's environment: nothing but what computing needs.

No proxy, no password, no variable of the agent's service reaches the process that trains. What libraries like to keep
on disk goes into the home folder, so that nothing of the hospital lies elsewhere.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

KEPT: Final = (
    "PATH",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES",
)
"""Variables that pass: where programs and libraries are, language, time zone, and which GPUs are whose."""

FOLDER: Final = "worker"
"""Folder in the home for temporary files and caches of libraries."""


def worker_folder(home: Path) -> Path:
    """The worker's folder for temporary files and caches, made if it is missing; nobody else may read it."""
    folder = home / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def worker_environment(home: Path, threads: int, agent: Mapping[str, str] | None = None) -> dict[str, str]:
    """The worker's whole environment.

    Args:
        home: The hospital's home folder.
        threads: Processor threads for training.
        agent: The agent's environment; None: this process's.
    """
    folder = str(worker_folder(home))
    given = os.environ if agent is None else agent
    return {name: given[name] for name in KEPT if name in given} | {
        "HOME": folder,
        "TMPDIR": folder,
        "XDG_CACHE_HOME": folder,
        "XDG_CONFIG_HOME": folder,
        "TORCH_HOME": folder,
        "MPLCONFIGDIR": folder,
        "FLWR_HOME": folder,
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "OMP_WAIT_POLICY": "passive",
        "OMP_NUM_THREADS": str(threads),
    }
