"""The glyphs a page needs that a reader's computer may lack, as a font inside the page.

Text beyond Latin, Greek and Cyrillic is set in the font that comes with the package; only the glyphs that
occur go into the page, which keeps it small.
"""

from __future__ import annotations

import base64
import io
import re
from importlib.resources import as_file, files
from typing import Final

from fontTools import subset  # type: ignore[import-untyped]  # it comes without types

_EAST_ASIAN: Final = re.compile("[\u2e80-\U0010ffff]")
"""From where the blocks of East Asian scripts begin in Unicode."""

_FONT: Final = "DroidSansFallback.ttf"


def needed(text: str) -> frozenset[str]:
    """The characters of ``text`` that Latin fonts lack."""
    return frozenset(_EAST_ASIAN.findall(text))


def font_face(text: str) -> str:
    """A CSS ``@font-face`` rule named ``report-cjk`` with what ``text`` needs; empty when it needs nothing."""
    letters = needed(text)
    if not letters:
        return ""
    encoded = base64.b64encode(_subset("".join(sorted(letters)))).decode("ascii")
    return f'@font-face {{ font-family: "report-cjk"; src: url(data:font/ttf;base64,{encoded}) format("truetype"); }}\n'


def _subset(letters: str) -> bytes:
    options = subset.Options(layout_features=[], hinting=False, notdef_outline=True)
    options.drop_tables += ["GDEF", "GPOS", "GSUB", "vhea", "vmtx"]
    with as_file(files("wardround.simulations.report") / "fonts" / _FONT) as path:
        font = subset.load_font(path, options, lazy=True)
    subsetter = subset.Subsetter(options)
    subsetter.populate(text=letters)
    subsetter.subset(font)
    buffer = io.BytesIO()
    subset.save_font(font, buffer, options)
    return buffer.getvalue()
