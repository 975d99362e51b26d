"""What leaves a hospital when something breaks in it: that it broke, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from flwr.app import Context, RecordDict

from wardround.client.app import HOME_KEY, app
from wardround.client.fault import LOG, HospitalFault
from wardround.client.home import RegisteredData, create_home
from wardround.common.ids import SiteId
from wardround.common.wire.messages import Hello
from wardround.common.wire.records import pack
from wardround.simulations.grid import InProcessGrid

SITE = SiteId("lund")


def ask(home: Path) -> str | None:
    """What Flower's client would send back: a reply's error, or the type and text of an exception."""
    grid = InProcessGrid({SITE: home})
    message = grid.create_message(pack(Hello()), "query.hello", grid.nodes[SITE], "1")
    try:
        reply = app(message, Context(1, grid.nodes[SITE], {HOME_KEY: str(home)}, RecordDict(), {}))
    except HospitalFault as fault:
        return f"{type(fault)}:<'{fault}'>"
    return str(reply.error.reason) if reply.has_error() else None


def test_paths_and_texts_of_what_broke_stay_at_the_hospital(tmp_path: Path) -> None:
    data = [RegisteredData(manifest=Path("manifest.toml"))]
    home = create_home(tmp_path / "Jane_Doe", SITE, data, device="cpu", threads=1).path
    assert ask(home) is None
    (home / "patient.key").unlink()
    (home / "patient.key").mkdir()
    (home / "hospital.toml").write_text((home / "hospital.toml").read_text() + "# changed")
    said = ask(home)
    assert said is not None
    assert "Jane_Doe" not in said
    assert "HospitalFault" in said
    log = home / LOG
    assert "IsADirectoryError" in log.read_text()
    assert "Jane_Doe" in log.read_text()
    assert log.stat().st_mode & 0o077 == 0


def test_a_simulation_shows_what_broke(tmp_path: Path) -> None:
    data = [RegisteredData(manifest=Path("manifest.toml"))]
    home = create_home(tmp_path, SITE, data, device="cpu", threads=1).path
    (home / "patient.key").unlink()
    (home / "patient.key").mkdir()
    grid = InProcessGrid({SITE: home})
    message = grid.create_message(pack(Hello()), "query.hello", grid.nodes[SITE], "1")
    with pytest.raises(IsADirectoryError):
        grid.send_and_receive([message])
