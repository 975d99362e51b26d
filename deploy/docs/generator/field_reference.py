"""Tables of every field of a pydantic model: type and range, default, meaning.

Types and ranges come from the model's JSON schema, meanings from the ``Attributes:`` part of the
class's Google-style docstring.
"""

from __future__ import annotations

import inspect
import json
import re
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Iterator

Schema = dict[str, Any]


def field_page(title: str, introduction: str, model: type[BaseModel], path: tuple[str, ...]) -> str:
    """A Markdown page on ``model`` and every model inside it.

    Args:
        title: Heading of the page.
        introduction: Paragraph under it.
        model: Its fields are the keys of the TOML table at ``path``.
        path: Names of the tables above; empty when the model is the whole file.
    """
    parts = [f"# {title}", introduction, "Generated from the program."]
    parts += [_section(section, where) for section, where in _sections(model, path)]
    return "\n\n".join(parts) + "\n"


def descriptions(model: type[BaseModel]) -> dict[str, str]:
    """What the ``Attributes:`` part of the docstring says about each field."""
    text = inspect.cleandoc(model.__doc__ or "")
    _, _, attributes = text.partition("Attributes:\n")
    attributes = re.split(r"\n\S", attributes)[0]
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n(?: {8}.*)?)*)", attributes, flags=re.MULTILINE)
    return {name: _prose(" ".join(meaning.split())) for name, meaning in entries}


def _prose(text: str) -> str:
    """Docstring markup as Markdown inside a table cell."""
    return text.replace("``", "`").replace("|", "\\|")


def _sections(model: type[BaseModel], path: tuple[str, ...]) -> Iterator[tuple[type[BaseModel], str]]:
    """The model and the models of its fields, depth first, with the name of their TOML table."""
    yield model, ".".join(path)
    for name, field in model.model_fields.items():
        for inner in _models(field.annotation):
            yield from _sections(inner, (*path, field.alias or name))


def _models(annotation: Any) -> Iterator[type[BaseModel]]:  # noqa: ANN401  any type form
    """The pydantic models that a type form contains."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _section(model: type[BaseModel], where: str) -> str:
    summary = _prose(inspect.cleandoc(model.__doc__ or "").split("\nAttributes:")[0].strip())
    schema = model.model_json_schema()
    meanings = descriptions(model)
    rows = [
        f"| `{key}` | {_type(entry, schema)} | {_default(key, entry, schema)} | {_meaning(key, model, meanings)} |"
        for key, entry in schema["properties"].items()
    ]
    heading = f"## `[{where}]`" if where else "## Top level"
    return "\n".join([heading, "", summary, "", "| field | type | default | meaning |", "|---|---|---|---|", *rows])


def _meaning(key: str, model: type[BaseModel], meanings: dict[str, str]) -> str:
    names = {field.alias or name: name for name, field in model.model_fields.items()}
    return meanings.get(names[key], "")


def _default(key: str, entry: Schema, schema: Schema) -> str:
    if key in schema.get("required", []):
        return "required"
    if "default" not in entry or entry["default"] in ({}, []):
        return "empty"
    if entry["default"] is None:
        return "absent"
    if isinstance(entry["default"], dict):
        return "its own defaults"
    return f"`{json.dumps(entry['default'], ensure_ascii=False)}`"


def _type(entry: Schema, schema: Schema) -> str:
    """A JSON schema in words."""
    if "$ref" in entry:
        inner = schema["$defs"][entry["$ref"].rsplit("/", 1)[1]]
        return "table" if "properties" in inner else _type(inner, schema)
    if "anyOf" in entry:
        kinds = [_type(kind, schema) for kind in entry["anyOf"] if kind.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "const" in entry or "enum" in entry:
        return " or ".join(f"`{json.dumps(value)}`" for value in entry.get("enum", [entry.get("const")]))
    if entry.get("type") == "array":
        return _array(entry, schema)
    if entry.get("type") == "object":
        return "table"
    return _WORDS.get(entry.get("type", ""), "any value") + _bounds(entry)


_WORDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}


def _array(entry: Schema, schema: Schema) -> str:
    if "prefixItems" in entry:
        return "list of " + ", ".join(_type(item, schema) for item in entry["prefixItems"])
    fewest, most = entry.get("minItems"), entry.get("maxItems")
    count = f"{fewest or 0} to {most} " if most is not None else f"{fewest} or more " if fewest else ""
    return f"list of {count}({_type(entry.get('items', {}), schema)})"


def _bounds(entry: Schema) -> str:
    low, high = entry.get("minimum"), entry.get("maximum")
    above, below = entry.get("exclusiveMinimum"), entry.get("exclusiveMaximum")
    limits = [
        f"from {low:g}" if low is not None else f"above {above:g}" if above is not None else "",
        f"up to {high:g}" if high is not None else f"below {below:g}" if below is not None else "",
        f"at most {entry['maxLength']} characters" if "maxLength" in entry else "",
        f"matching `{entry['pattern']}`".replace("|", "\\|") if "pattern" in entry else "",
    ]
    said = ", ".join(limit for limit in limits if limit)
    return f", {said}" if said else ""
