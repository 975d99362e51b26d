"""What the files in deploy/ say holds of the program; services are hardened, containers too."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from inspect import signature
from typing import TYPE_CHECKING, Any

import click
import pytest
import yaml
from conftest import NO_SYSTEMD
from fakes.command_lines import parse

from wardround.server.serve import serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UNITS = ("wardround-coordinator.service", "wardround-hospital.service")
COMPOSED = ("compose.yaml", "hospital.yaml")
EXPOSED = 2.0
"""Largest exposure level, 0 to 10, that systemd-analyze security may give a unit."""

METRICS_PORT = signature(serve).parameters["metrics_port"].default

STATE = {"wardround-coordinator.service": "coordinator", "wardround-hospital.service": "hospital"}


@pytest.fixture(scope="session")
def systemd() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip(NO_SYSTEMD)
    return found


def _unit(path: Path) -> dict[str, dict[str, list[str]]]:
    """Sections of a unit; a name may occur more than once."""
    sections: dict[str, dict[str, list[str]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = sections.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            name, _, value = line.partition("=")
            section.setdefault(name, []).append(value)
    return sections


def _composed(root: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((root / "deploy" / "compose" / name).read_text(encoding="utf-8"))
    return found


def _services(root: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for file in COMPOSED:
        for name, service in _composed(root, file)["services"].items():
            yield f"{file}: {name}", service


@pytest.mark.parametrize("name", UNITS)
def test_units_run_a_command_of_the_program_on_the_folder_that_they_make(root: Path, name: str) -> None:
    service = _unit(root / "deploy" / "systemd" / name)["Service"]
    program, *words = shlex.split(service["ExecStart"][0])
    assert program == "/opt/wardround/bin/wardround"
    parse(words)
    assert f"wardround/{STATE[name]}" in service["StateDirectory"][0].split()
    folders = [value for given in service["Environment"] for value in shlex.split(given) if "=/" in value]
    assert [folder.partition("=")[2] for folder in folders] == [f"/var/lib/wardround/{STATE[name]}"]


@pytest.mark.parametrize("name", UNITS)
def test_units_write_no_core_dumps_and_have_no_privileges(root: Path, name: str) -> None:
    service = _unit(root / "deploy" / "systemd" / name)["Service"]
    assert (service["LimitCORE"], service["UMask"], service["User"]) == (["0"], ["0077"], ["wardround"])
    assert (service["CapabilityBoundingSet"], service["NoNewPrivileges"]) == ([""], ["yes"])


def test_a_worker_that_the_kernel_ends_does_not_end_the_agent(root: Path) -> None:
    assert _unit(root / "deploy" / "systemd" / "wardround-hospital.service")["Service"]["OOMPolicy"] == ["continue"]


def _analyze(systemd: str, tmp_path: Path, content: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Let systemd read a unit whose program is one that exists here."""
    unit = tmp_path / "wardround.service"
    unit.write_text(content.replace("/opt/wardround/bin/wardround", "/bin/true"), encoding="utf-8")
    return subprocess.run([systemd, *arguments, str(unit)], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", UNITS)
def test_systemd_understands_every_line(root: Path, systemd: str, tmp_path: Path, name: str) -> None:
    content = (root / "deploy" / "systemd" / name).read_text(encoding="utf-8")
    done = _analyze(systemd, tmp_path, content, "verify", "--man=no")
    assert (done.returncode, done.stderr) == (0, "")
    wrong = _analyze(systemd, tmp_path, content.replace("PrivateTmp=yes", "PrivateTemp=yes"), "verify", "--man=no")
    assert "PrivateTemp" in wrong.stderr


@pytest.mark.parametrize("name", UNITS)
def test_units_are_hardened_as_systemd_sees_it(root: Path, systemd: str, tmp_path: Path, name: str) -> None:
    content = (root / "deploy" / "systemd" / name).read_text(encoding="utf-8")
    judge = ("security", "--offline=true", "--no-pager", f"--threshold={EXPOSED * 10:.0f}")
    done = _analyze(systemd, tmp_path, content, *judge)
    assert done.returncode == 0, done.stdout
    bare = "[Service]\nExecStart=/bin/true\n"
    assert _analyze(systemd, tmp_path, bare, *judge).returncode != 0


def test_the_drop_in_for_a_gpu_opens_devices_alone(root: Path) -> None:
    drop_in = _unit(root / "deploy" / "systemd" / "wardround-hospital-gpu.conf")
    assert drop_in.keys() == {"Service"}
    assert drop_in["Service"].keys() == {"PrivateDevices", "DevicePolicy", "DeviceAllow"}


def test_containers_have_no_privileges_and_a_read_only_file_system(root: Path) -> None:
    found = list(_services(root))
    assert len(found) == 5
    for name, service in found:
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["ulimits"] == {"core": 0}, name
        assert not service.keys() & {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices", "user"}, name


def test_hospitals_publish_no_port_and_read_images_only(root: Path) -> None:
    for name, service in _services(root):
        if name.endswith(": coordinator"):
            assert len(service["ports"]) == 1
            continue
        assert "ports" not in service, name
        data = [volume for volume in service["volumes"] if "/data" in volume.rpartition("}")[2]]
        assert [volume.endswith(":/data:ro") for volume in data] == [True], name


def test_every_command_of_a_container_is_one_the_program_takes(root: Path) -> None:
    for name, service in _services(root):
        parse(service["command"])
        kind, program, *words = service["healthcheck"]["test"]
        assert kind == "CMD", name
        if program == "wardround":
            parse(words)
        else:
            assert (program, f"127.0.0.1:{METRICS_PORT}/health" in words[-1]) == ("python", True), name
    with pytest.raises(click.UsageError):
        parse(["hospital", "server"])


def test_volumes_and_networks_that_services_use_exist(root: Path) -> None:
    for file in COMPOSED:
        whole = _composed(root, file)
        used = {volume.partition(":")[0] for service in whole["services"].values() for volume in service["volumes"]}
        assert {name for name in used if not name.startswith("$")} == whole["volumes"].keys()
        networks = {name for service in whole["services"].values() for name in service.get("networks", ())}
        assert networks == whole.get("networks", {}).keys()


def test_the_image_is_built_from_every_package_and_not_run_as_root(root: Path) -> None:
    lines = (root / "deploy" / "compose" / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = {word for line in lines if line.startswith("COPY") for word in line.split()[1:-1]}
    assert copied >= {"common", "server", "client", "simulations", "pyproject.toml", "constraints.txt"}
    assert all((root / name).exists() for name in copied)
    assert [line for line in lines if line.startswith("USER")] == ["USER wardround"]
    entry = next(line for line in lines if line.startswith("ENTRYPOINT"))
    assert entry == 'ENTRYPOINT ["wardround"]'


def _alerts(root: Path) -> list[dict[str, Any]]:
    whole = yaml.safe_load((root / "deploy" / "prometheus" / "alerts.yaml").read_text(encoding="utf-8"))
    (group,) = whole["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def test_alerts_are_about_metrics_that_the_coordinator_has(root: Path) -> None:
    source = (root / "server" / "metrics.py").read_text(encoding="utf-8")
    found = re.findall(r'_(gauge|counter)s?\(\s*"(\w+)"', source)
    kinds = {name if kind == "gauge" else f"{name}_total" for kind, name in found}
    assert len(kinds) >= 8
    for alert in _alerts(root):
        names = re.findall(r"wardround_coordinator_(\w+)", alert["expr"])
        assert set(names) <= kinds, alert["alert"]
        assert names or alert["expr"].startswith("up{"), alert["alert"]


def test_alerts_say_what_to_do_and_are_well_formed(root: Path) -> None:
    names = [alert["alert"] for alert in _alerts(root)]
    assert len(set(names)) == len(names) >= 6
    for alert in _alerts(root):
        assert alert.keys() <= {"alert", "expr", "for", "labels", "annotations"}
        assert alert["annotations"].keys() == {"summary", "description"}
        assert alert["labels"]["severity"] in {"critical", "warning", "info"}
        assert re.fullmatch(r"\d+[smh]", alert.get("for", "1m"))
        for opening, closing in ("()", "{}", "[]"):
            assert alert["expr"].count(opening) == alert["expr"].count(closing), alert["alert"]


def test_the_port_that_is_scraped_is_the_one_of_the_metrics(root: Path) -> None:
    whole = yaml.safe_load((root / "deploy" / "prometheus" / "prometheus.yaml").read_text(encoding="utf-8"))
    (job,) = whole["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    host, _, port = target.rpartition(":")
    assert host == "127.0.0.1"
    assert int(port) == METRICS_PORT
    assert [(root / "deploy" / "prometheus" / name).is_file() for name in whole["rule_files"]] == [True]
