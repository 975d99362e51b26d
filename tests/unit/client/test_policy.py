"""The hospital's policy: defaults, what it refuses, and its file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from wardround.client.home import RegisteredData, create_home
from wardround.client.policy import Policy, read_policy
from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId, StudyRunId

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT = Policy()
OPEN = Policy(modes=("open", "private"), strengths=("active", "semi-honest"), colluding=0, runs_per_study=3)
RUNS = tuple(StudyRunId(f"run-{i}") for i in range(4))


@pytest.mark.parametrize(
    ("allowed", "refused"),
    [
        (lambda: DEFAULT.check_mode("private"), lambda: DEFAULT.check_mode("open")),
        (lambda: OPEN.check_mode("open"), lambda: OPEN.check_mode("robust")),
        (lambda: DEFAULT.check_strength("active"), lambda: DEFAULT.check_strength("semi-honest")),
        (lambda: OPEN.check_strength("semi-honest"), lambda: OPEN.check_strength("none")),
        (lambda: DEFAULT.check_sites(3), lambda: DEFAULT.check_sites(2)),
        (lambda: Policy(min_sites=5).check_sites(5), lambda: Policy(min_sites=5).check_sites(4)),
        (lambda: DEFAULT.check_colluding(3, sites=10), lambda: DEFAULT.check_colluding(2, sites=10)),
        (lambda: DEFAULT.check_colluding(0, sites=3), lambda: DEFAULT.check_colluding(0, sites=4)),
        (lambda: OPEN.check_colluding(0, sites=50), lambda: Policy(colluding=2).check_colluding(1, sites=3)),
        (lambda: DEFAULT.check_run(RUNS[0], ()), lambda: DEFAULT.check_run(RUNS[1], RUNS[:1])),
        (lambda: DEFAULT.check_run(RUNS[0], RUNS[:1]), lambda: OPEN.check_run(RUNS[3], RUNS[:3])),
        (lambda: OPEN.check_run(RUNS[2], RUNS[:2]), lambda: DEFAULT.check_run(RUNS[3], RUNS[:3])),
    ],
)
def test_what_the_policy_allows_and_what_it_refuses(allowed: Callable[[], None], refused: Callable[[], None]) -> None:
    allowed()
    with pytest.raises(WardroundError, match="policy forbids") as error:
        refused()
    assert error.value.code == "WR-1712"


def test_the_colluding_sites_follow_from_the_cohort_unless_the_site_says_otherwise() -> None:
    assert [DEFAULT.least_colluding(n) for n in (3, 4, 5, 6, 7, 10, 50)] == [0, 1, 1, 1, 2, 3, 16]
    assert [Policy(colluding=2).least_colluding(n) for n in (3, 50)] == [2, 2]


def test_a_refusal_says_what_is_allowed() -> None:
    with pytest.raises(WardroundError, match="forbids mode 'open'; it allows private"):
        DEFAULT.check_mode("open")
    with pytest.raises(WardroundError, match="assumes 2 colluding; it allows 3 or more"):
        DEFAULT.check_colluding(2, sites=10)


def home(path: Path, policy: Policy | None = None) -> Policy:
    data = [RegisteredData(manifest=Path("data.toml"))]
    return create_home(path, SiteId("north"), data, device="cpu", threads=1, policy=policy).policy


def test_studies_without_a_promise_need_the_sites_leave() -> None:
    DEFAULT.check_privacy(noisy=True)
    with pytest.raises(WardroundError, match="WR-1809"):
        DEFAULT.check_privacy(noisy=False)
    Policy(without_privacy=True).check_privacy(noisy=False)
    assert not DEFAULT.require_witness


def test_a_home_without_a_policy_has_the_strict_one(tmp_path: Path) -> None:
    assert home(tmp_path) == DEFAULT
    assert not (tmp_path / "policy.toml").exists()


@pytest.mark.parametrize("policy", [DEFAULT, OPEN, Policy(colluding=4, min_sites=9)])
def test_a_given_policy_is_written_and_read_again(policy: Policy, tmp_path: Path) -> None:
    assert home(tmp_path, policy) == policy
    assert home(tmp_path) == policy  # made again without a policy, the home keeps the one it has


def test_a_changed_policy_holds_at_once(tmp_path: Path) -> None:
    north = create_home(
        tmp_path, SiteId("north"), [RegisteredData(manifest=Path("d.toml"))], device="cpu", threads=1, policy=OPEN
    )
    north.policy.check_mode("open")
    (tmp_path / "policy.toml").write_text('modes = ["private"]\n')
    assert north.policy == DEFAULT


@pytest.mark.parametrize(
    "text",
    [
        "surprise = 1",
        "schema = 2",
        "modes = []",
        'modes = ["closed"]',
        'modes = "private"',
        "strengths = []",
        'strengths = ["passive"]',
        "colluding = -1",
        "colluding = 1.0",
        "colluding = true",
        "min_sites = 2",
        'min_sites = "3"',
        "runs_per_study = 0",
        "runs_per_study = 1_000_001",
        "without_privacy = 1",
        'require_witness = "yes"',
        "modes = [",
        "x = 1\nx = 2",
    ],
)
def test_a_damaged_policy_allows_nothing(text: str, tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text("schema = 1\nmin_sites = 4\n")
    assert read_policy(tmp_path).min_sites == 4
    (tmp_path / "policy.toml").write_text(text)
    with pytest.raises(WardroundError, match=r"policy\.toml") as refused:
        read_policy(tmp_path)
    assert refused.value.code == "WR-1305"


def test_a_policy_that_cannot_be_read_allows_nothing(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_bytes(b'modes = ["\xff"]')
    with pytest.raises(WardroundError, match="UnicodeDecodeError") as refused:
        read_policy(tmp_path)
    assert refused.value.code == "WR-1305"
    (tmp_path / "policy.toml").unlink()
    (tmp_path / "policy.toml").mkdir()
    with pytest.raises(WardroundError, match="IsADirectoryError") as refused:
        read_policy(tmp_path)
    assert refused.value.code == "WR-1305"


def test_a_policy_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        DEFAULT.min_sites = 4  # type: ignore[misc]


def test_the_page_lists_every_default(root: Path) -> None:
    page = (root / "deploy" / "docs" / "private.md").read_text(encoding="utf-8")
    (listed,) = (block for block in page.split("```toml\n")[1:] if block.startswith("schema"))
    fields = tomllib.loads(listed.split("```")[0])
    assert fields == Policy().model_dump(mode="json", by_alias=True, exclude_none=True)
