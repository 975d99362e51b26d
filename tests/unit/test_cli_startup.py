"""Help starts at once: no command's ``--help`` imports a package that takes long to import."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version

import pytest
from typer.testing import CliRunner

from wardround.simulations.cli import app

HEAVY = (
    "alembic",
    "flwr",
    "grpc",
    "matplotlib",
    "monai",
    "nibabel",
    "numpy",
    "pandas",
    "pyarrow",
    "scipy",
    "sklearn",
    "sqlalchemy",
    "torch",
)

PROBE = """
import contextlib, io, json, sys
import click, typer
from wardround.simulations.cli import app

def walk(command, path):
    yield path
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from walk(inner, [*path, name])

root = typer.main.get_command(app)
loaded = {}
for path in walk(root, []):
    with contextlib.redirect_stdout(io.StringIO()) as text:
        code = root.main([*path, "--help"], prog_name="wardround", standalone_mode=False)
    assert not code and "Usage" in text.getvalue(), (path, code)
    loaded[" ".join(path)] = sorted(set(sys.modules) & set(json.loads(sys.argv[1])))
print(json.dumps(loaded))
"""


@pytest.fixture(scope="module")
def loaded() -> dict[str, list[str]]:
    """Heavy packages in memory after the help of each command, in one process of its own."""
    done = subprocess.run([sys.executable, "-c", PROBE, json.dumps(HEAVY)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result: dict[str, list[str]] = json.loads(done.stdout)
    return result


def test_help_imports_nothing_heavy(loaded: dict[str, list[str]]) -> None:
    assert {command: names for command, names in loaded.items() if names} == {}


def test_commands_of_the_contract_exist(loaded: dict[str, list[str]]) -> None:
    promised = {"demo", "simulate", "evaluate", "report", "compare", "hospital data check"}
    promised |= {f"coordinator {name}" for name in ("init", "invite", "revoke", "propose", "studies", "export")}
    promised |= {"coordinator sites list", "coordinator sites add"}
    assert promised - set(loaded) == set()


def test_probe_sees_a_heavy_import() -> None:
    probe = PROBE.replace("loaded = {}", "loaded = {}\nimport numpy")
    done = subprocess.run([sys.executable, "-c", probe, json.dumps(HEAVY)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "numpy" in json.loads(done.stdout)[""]


INTERRUPT = """
import sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            raise KeyboardInterrupt

from wardround.simulations.entry import main
sys.meta_path.insert(0, Interrupting())
main()
"""


def test_an_interrupt_while_it_loads_is_quiet() -> None:
    done = _interrupted("wardround.simulations.cli")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
    control = _interrupted("never.imported")  # the program runs, and knows no command of this name
    assert control.returncode == 2


def _interrupted(at: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", INTERRUPT, at], capture_output=True, text=True, check=False)


def test_the_release_is_told() -> None:
    found = CliRunner().invoke(app, ["--version"])
    assert (found.exit_code, found.stdout) == (0, f"wardround {version('wardround')}\n")
