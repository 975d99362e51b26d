"""The coordinator's folder: its owner's alone, whole or refused."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest
from fakes.joining import NOW

from wardround.common.errors import WardroundError
from wardround.server.consortium import Consortium, CoordinatorSettings, create_consortium
from wardround.server.consortium.settings import read_settings

if TYPE_CHECKING:
    from pathlib import Path

KEYS = ("authority.key", "tls/ca.key", "tls/server.key")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A new consortium's folder."""
    create_consortium(tmp_path / "wards", "The wards 杉", "[::1]:8443", now=NOW, names=("wards.example.org",)).close()
    return tmp_path / "wards"


def test_everything_is_its_owners_alone(folder: Path) -> None:
    with Consortium(folder):
        paths = [folder, *folder.rglob("*")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_dir()} == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_file()} == {0o600}
    assert {str(path.relative_to(folder)) for path in paths} >= {*KEYS, "coordinator.toml", "coordinator.db"}


def test_settings_are_read_as_they_were_written(folder: Path) -> None:
    settings = read_settings(folder)
    assert (settings.name, settings.address, settings.listen) == ("The wards 杉", "[::1]:8443", "0.0.0.0:8443")
    assert (settings.host, settings.certificates.names) == ("::1", ("wards.example.org",))
    (folder / "coordinator.toml").write_bytes(settings.as_toml())
    assert read_settings(folder) == settings
    assert CoordinatorSettings.model_validate({"schema": 1, "name": "a", "address": "b:1"}).gateway.max_message_mb > 0


@pytest.mark.parametrize("name", [*KEYS[:1], "tls/server.key"])
def test_a_key_that_others_may_read_is_refused(folder: Path, name: str) -> None:
    (folder / name).chmod(0o640)
    with pytest.raises(WardroundError, match=r"WR-1914.*open to other accounts"), Consortium(folder) as consortium:
        consortium.server_credentials(NOW)
    (folder / name).chmod(0o600)
    with Consortium(folder) as consortium:
        consortium.server_credentials(NOW)


def test_a_folder_that_others_may_read_is_refused(folder: Path) -> None:
    folder.chmod(0o755)
    with pytest.raises(WardroundError, match="WR-1914"):
        Consortium(folder)


@pytest.mark.parametrize("name", ["coordinator.toml", "authority.key", "tls/ca.key", "tls/ca.pem"])
@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe damaged"])
def test_a_damaged_folder_is_refused_with_a_code(folder: Path, name: str, content: bytes | None) -> None:
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(WardroundError, match="WR-1914"):
        use(folder)


def use(folder: Path) -> None:
    from fakes.joining import Hospital

    with Consortium(folder) as consortium:
        Hospital("oak").join(consortium)


def test_an_unknown_setting_is_named(folder: Path) -> None:
    path = folder / "coordinator.toml"
    path.write_bytes(path.read_bytes() + b"\n[gatewayy]\nstreams = 3\n")
    with pytest.raises(WardroundError, match=r"WR-1914.*gatewayy.*Correct what is named"):
        Consortium(folder)


def test_no_folder_is_made_over_another(folder: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(WardroundError, match=r"WR-1914.*not empty"):
        create_consortium(folder, "wards", "localhost:443", now=NOW)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    with pytest.raises(WardroundError, match="WR-1914"):
        Consortium(tmp_path / "nothing")


@pytest.mark.parametrize("address", ["", "localhost", "localhost:", "a b:1", "local/host:1", "localhost:123456"])
def test_an_address_is_host_and_port(tmp_path: Path, address: str) -> None:
    with pytest.raises(WardroundError, match="WR-1931"):
        create_consortium(tmp_path / "wards", "wards", address, now=NOW)
    assert not (tmp_path / "wards").exists()
    create_consortium(tmp_path / "wards", "wards", "localhost:443", now=NOW).close()


def test_the_database_of_another_consortium_is_refused(folder: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{folder / 'coordinator.db'}"
    with pytest.raises(WardroundError, match=r"WR-1915.*another consortium's"):
        create_consortium(tmp_path / "others", "others", "localhost:443", now=NOW, database=url)
    assert list((tmp_path / "others").iterdir()) == []
    create_consortium(tmp_path / "others", "others", "localhost:443", now=NOW).close()
    with Consortium(folder) as consortium:
        assert consortium.store.sites() == ()


def test_a_lost_database_is_not_taken_for_a_new_one(folder: Path) -> None:
    for path in folder.glob("coordinator.db*"):
        path.unlink()
    with pytest.raises(WardroundError, match=r"WR-1915.*empty"):
        Consortium(folder)
