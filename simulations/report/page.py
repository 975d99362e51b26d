"""Fill the page: one HTML file with everything in it, no script and nothing to load."""

from __future__ import annotations

import base64
import json
from importlib.resources import files
from typing import TYPE_CHECKING

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from wardround.simulations.report.answer import answer
from wardround.simulations.report.figures.style import DPI
from wardround.simulations.report.fonts_used import font_face
from wardround.simulations.report.names import EXPLAINED
from wardround.simulations.report.promise import privacy_section, same_steps
from wardround.simulations.report.sourced import Number, Quote, Strong
from wardround.simulations.report.tables import (
    Table,
    columns,
    comparison_table,
    detail_table,
    headline_table,
    seed_table,
)
from wardround.simulations.report.tables_run import data_table, digest_table, settings_table, work_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardround.common.study import Study
    from wardround.simulations.report.figures.style import Picture
    from wardround.simulations.report.load import RunFolder
    from wardround.simulations.report.sourced import Phrase, Sentence


def page(run: RunFolder, pictures: Sequence[Picture]) -> str:
    """The report as HTML."""
    lookup = run.lookup
    content = {
        "study": run.study,
        "task": _task(run.study),
        "results": run.results,
        "unseen": lookup.unseen_sites,
        "answer": answer(run.results, run.study),
        "explained": EXPLAINED[lookup.main_metric],
        "headline": headline_table(lookup),
        "pictures": pictures,
        "data": data_table(run),
        "detail": detail_table(lookup),
        "seeds": seed_table(lookup),
        "comparisons": comparison_table(lookup),
        "work": work_table(lookup),
        "same_steps": same_steps(lookup),
        "privacy": privacy_section(run),
        "settings": settings_table(run.settings),
        "digests": digest_table(lookup),
        "study_json": json.dumps(json.loads(run.study.canonical()), indent=2, ensure_ascii=False),
    }
    html = _environment().from_string(_resource("report.html.j2")).render(css=Markup("@@css@@"), **content)
    return html.replace("@@css@@", _css(html))


def _resource(name: str) -> str:
    return (files("wardround.simulations.report") / "templates" / name).read_text(encoding="utf-8")


def _css(html: str) -> str:
    """The style sheet; the font of the page comes first, because a browser may print before it loads a later one."""
    face = font_face(html)
    family = '"report-cjk", ' if face else ""
    return face + _resource("report.css").replace("REPORT_FONT ", family)


def _environment() -> Environment:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"sentence": _sentence, "base64": _base64, "png_width": _png_width}
    environment.globals |= {"zip": zip, "columns": _kinds}
    return environment


def _kinds(table: Table) -> list[str]:
    return columns(table.header, table.texts)


def _sentence(sentence: Sentence) -> Markup:
    return Markup("").join(map(_phrase, sentence))


def _phrase(phrase: Phrase) -> Markup:
    if isinstance(phrase, Number):
        return Markup('<span class="n" title="{0}" data-source="{1}">{2}</span>').format(
            _shortened(phrase.source), phrase.source, phrase.text
        )
    if isinstance(phrase, Quote):
        return Markup('<span class="q" data-source="{0}">{1}</span>').format(phrase.source, phrase.text)
    if isinstance(phrase, Strong):
        return Markup("<b>{0}</b>").format(phrase.text)
    return escape(phrase)


def _shortened(source: str) -> str:
    """What a reader sees when pointing at a number."""
    first, *others = source.split(" ")
    return f"{first} and {len(others)} more, added up" if others else first


def _base64(png: bytes) -> str:
    return base64.b64encode(png).decode("ascii")


def _png_width(png: bytes) -> int:
    """Width in CSS pixels at which the figure has its intended size (100 pixels an inch)."""
    return round(int.from_bytes(png[16:20], "big") * 100 / DPI)


def _task(study: Study) -> str:
    dimensions = f"{study.task.dimensions}D"
    if study.task.kind == "segmentation":
        return f"{dimensions} segmentation of {', '.join(study.task.labels)}"
    return f"{study.task.target} classification of {dimensions} images ({', '.join(study.task.labels)})"
