"""Glyphs that a reader's computer may lack travel inside the page."""

from __future__ import annotations

import base64
import io
import re

from fontTools.ttLib import TTFont

from wardround.simulations.report.fonts_used import font_face, needed


def test_latin_text_needs_no_font() -> None:
    assert needed("Hippocampus \N{EN DASH} α ± 5 \N{MULTIPLICATION SIGN}") == frozenset()
    assert font_face("Hippocampus") == ""


def test_font_holds_exactly_the_needed_letters() -> None:
    face = font_face("医院 A 医院 病院 병원")
    found = re.search(r"base64,([A-Za-z0-9+/=]+)", face)
    assert found
    font = TTFont(io.BytesIO(base64.b64decode(found.group(1))))
    assert {chr(code) for code in font.getBestCmap()} == set("医院病병원")


def test_font_of_a_page_is_small() -> None:
    title = "胸部X线异常检测：三家医院的联邦学习"
    assert len(font_face(title)) < 20_000
