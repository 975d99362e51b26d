"""From TOML text and ``--set`` arguments to a study; every mistake is named."""

from __future__ import annotations

import copy
import re
import tomllib
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from wardround.common.errors import WardroundError
from wardround.common.study.study import Study

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

M = TypeVar("M", bound=BaseModel)


def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML text; a byte order mark, as Windows editors write one, is skipped.

    Raises:
        WardroundError: WR-1001, the text is not valid TOML.
    """
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError as error:
        raise WardroundError("WR-1001", f"The file is not valid TOML: {error}.") from error
    except RecursionError as error:
        raise WardroundError("WR-1001", "The file nests values too deeply.") from error


def build_study(fields: Mapping[str, Any]) -> Study:
    """Validate the fields of a study.

    Raises:
        WardroundError: WR-1002, with every field that is wrong.
    """
    return validated(Study, fields, "WR-1002", "The study")


def validated(model: type[M], fields: Mapping[str, Any], code: str, what: str) -> M:
    """Validate ``fields`` as ``model``; every mistake is named in one error.

    Raises:
        WardroundError: ``code``, listing each wrong field with its place and reason.
    """
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        found = "; ".join(_mistake(item) for item in error.errors(include_url=False, include_input=False))
        raise WardroundError(code, f"{what} is not valid: {found}.") from None


def _mistake(item: Mapping[str, Any]) -> str:
    place = ".".join(str(part) for part in item["loc"])
    reason = re.sub(r"^Value error, ", "", item["msg"])
    return f"{place}: {reason}" if place else reason


def with_settings(fields: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """Apply ``--set section.field=value`` to the raw fields of a study; the value is TOML, else text.

    Raises:
        WardroundError: WR-1003, a setting has no ``=``, or its path runs through something that is
            not a section. Unknown fields are found when the study is built.
    """
    changed = copy.deepcopy(dict(fields))
    for setting in settings:
        path, separator, text = setting.partition("=")
        keys = path.strip().split(".")
        if not separator or not all(keys):
            raise WardroundError("WR-1003", f"{setting!r} is not of the form key=value.")
        section = changed
        for key in keys[:-1]:
            section = section.setdefault(key, {})
            if not isinstance(section, dict):
                raise WardroundError("WR-1003", f"{path!r} does not name a field: {key!r} is not a section.")
        section[keys[-1]] = _toml_value(text.strip())
    return changed


def _toml_value(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
