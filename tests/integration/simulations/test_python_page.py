"""The example of the page on Python runs as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def test_the_example_runs(root: Path, tmp_path: Path) -> None:
    page = (root / "deploy" / "docs" / "python.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(code) == 1
    done = subprocess.run([sys.executable, "-c", code[0]], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^federated north 0\.\d+ \(0\.\d+, ", done.stdout, re.MULTILINE), done.stdout
    assert (tmp_path / "runs" / "from-python" / "report.html").exists()
