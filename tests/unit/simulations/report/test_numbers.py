"""Every number of the page is a rounding of a number in the run folder, and says which."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest
from fakes.promised_report import build_promised, promised_study
from fakes.run_folder import build_classification

from wardround.simulations.report.load import load_run
from wardround.simulations.report.write import write_report

if TYPE_CHECKING:
    from pathlib import Path

VOID = {"meta", "img", "br", "link"}
FILES = ("results.json", "study.json", "settings.json", "privacy.json", "leakage.json")


class Page(HTMLParser):
    """Texts that name a source, and what remains of the answer and of the table bodies without them."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[tuple[str, dict[str, str | None]]] = []
        self.sourced: list[tuple[str, str, str]] = []
        self.rest: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.stack.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop()[0] == tag, "a tag is not closed"

    def handle_data(self, data: str) -> None:
        for _, attributes in reversed(self.stack):
            source = attributes.get("data-source")
            if source:
                self.sourced.append((data, source, attributes.get("class") or ""))
                return
        inside = any(tag == "tbody" or values.get("class") == "answer" for tag, values in self.stack)
        if inside:
            self.rest.append(data)


def parsed(html: str) -> Page:
    page = Page()
    page.feed(html)
    page.close()
    assert not page.stack
    return page


def at(content: dict[str, Any], source: str) -> Any:
    """An independent reading of ``file#/json/pointer``."""
    file, _, pointer = source.partition("#")
    value = content[file]
    for part in pointer.split("/")[1:]:
        key = unquote(part).replace("~1", "/").replace("~0", "~")
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value


def agrees(text: str, value: float) -> bool:
    plain = text.replace("\N{MINUS SIGN}", "-").replace("\N{NARROW NO-BREAK SPACE}", "")
    if plain.startswith("<"):
        return value < float(plain[1:])
    places = len(plain.partition(".")[2])
    return abs(float(plain) - value) <= 0.5000001 * 10**-places


def content_of(run: Path) -> dict[str, Any]:
    present = [name for name in FILES if (run / name).exists()]
    return {name: json.loads((run / name).read_text(encoding="utf-8")) for name in present}


@pytest.fixture(scope="session", params=["classification", "segmentation", "left_out", "two_seeds", "promised"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param == "two_seeds":
        folder = build_classification(tmp_path_factory.mktemp("runs") / "two_seeds", seeds=2)
        write_report(folder)
        return folder
    if request.param == "promised":
        study = promised_study(validation={"epsilon": 2.0, "times": 3})
        folder = build_promised(tmp_path_factory.mktemp("runs") / "promised", study, seeds=2)
        write_report(folder)
        return folder
    return request.getfixturevalue(f"{request.param}_run")


def test_every_number_is_a_rounding_of_its_source(run: Path) -> None:
    content = content_of(run)
    page = parsed((run / "report.html").read_text(encoding="utf-8"))
    numbers = [(text, source) for text, source, classes in page.sourced if classes == "n"]
    assert len(numbers) > 50
    for text, source in numbers:
        value = sum(at(content, place) for place in source.split(" "))
        assert agrees(text, value), f"{text} is not a rounding of {value} at {source}"


def test_every_quotation_is_word_for_word(run: Path) -> None:
    content = content_of(run)
    page = parsed((run / "report.html").read_text(encoding="utf-8"))
    quotes = [(text, source) for text, source, classes in page.sourced if classes == "q"]
    for text, source in quotes:
        value = at(content, source)
        assert text == (", ".join(map(str, value)) if isinstance(value, list) else str(value))


def test_no_other_number_stands_in_the_answer_or_in_a_table(run: Path) -> None:
    loaded = load_run(run)
    page = parsed((run / "report.html").read_text(encoding="utf-8"))
    names = sorted([*loaded.lookup.test_sites, *loaded.study.task.labels], key=len, reverse=True)
    rest = " ".join(page.rest)
    for known in ("95% interval", "95% percentile bootstrap interval", "p is below 0.05", "F1 score", "HD95", *names):
        rest = rest.replace(known, "")
    assert re.findall(r"[^\s]*\d[^\s]*", rest) == []


def test_a_wrong_number_would_be_found() -> None:
    assert agrees("0.125", 0.12549)
    assert not agrees("0.125", 0.1256)
    assert agrees("\N{MINUS SIGN}0.02", -0.0171)
    assert not agrees("0.02", -0.0171)
    assert agrees("<0.001", 0.0002)
    assert not agrees("<0.001", 0.002)
    assert agrees("3\N{NARROW NO-BREAK SPACE}840", 3840)
