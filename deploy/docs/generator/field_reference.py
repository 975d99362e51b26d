"""Tables of every field of a pydantic model: type and range, default, meaning.

Types and ranges come from the model's JSON schema, meanings from the ``Attributes:`` part of the
class's Google-style docstring.
"""

from __future__ import annotations

import inspect
import json
import re
from typing import TYPE_CHECKING, Any, get_args, get_origin

from pydantic import BaseModel, TypeAdapter

from wardround.common.study import Name

if TYPE_CHECKING:
    from collections.abc import Iterator

Schema = dict[str, Any]

NAME = TypeAdapter(Name).json_schema()["pattern"]
NOTE = f"""\
Generated from the program. A *name* is text that is safe in file names: `{NAME}`."""


def field_page(title: str, introduction: str, model: type[BaseModel], path: tuple[str, ...]) -> str:
    """A Markdown page on ``model`` and every model inside it.

    Args:
        title: Heading of the page.
        introduction: Paragraph under it.
        model: Its fields are the keys of the TOML table at ``path``.
        path: Names of the tables above; empty when the model is the whole file.
    """
    parts = [f"# {title}", introduction, NOTE]
    parts += [_section(section, heading) for section, heading in _sections(model, path)]
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
    """The model and the models of its fields, depth first, with the heading of their TOML table."""
    yield model, f"`[{'.'.join(path)}]`" if path else "Top level"
    for name, field in model.model_fields.items():
        inner = list(_models(field.annotation))
        for choice in inner:
            (_, heading), *below = _sections(choice, (*path, field.alias or name))
            if get_origin(field.annotation) is tuple:
                heading = f"`[{heading.strip('`')}]`"
            yield choice, heading + (_of_kind(choice) if len(inner) > 1 else "")
            yield from below


def _of_kind(model: type[BaseModel]) -> str:
    """Which of several models a table is, by its ``kind``."""
    kinds = get_args(model.model_fields["kind"].annotation)
    return ", kind " + " or ".join(f"`{json.dumps(kind)}`" for kind in kinds)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:  # noqa: ANN401  any type form
    """The pydantic models that a type form contains."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _section(model: type[BaseModel], heading: str) -> str:
    summary = _prose(inspect.cleandoc(model.__doc__ or "").split("\nAttributes:")[0].strip())
    schema = model.model_json_schema()
    meanings = descriptions(model)
    rows = [
        f"| `{key}` | {_type(entry, schema)} | {_default(key, entry, schema)} | {_meaning(key, model, meanings)} |"
        for key, entry in schema["properties"].items()
    ]
    return "\n".join(
        [f"## {heading}", "", summary, "", "| field | type | default | meaning |", "|---|---|---|---|", *rows]
    )


def _meaning(key: str, model: type[BaseModel], meanings: dict[str, str]) -> str:
    names = {field.alias or name: name for name, field in model.model_fields.items()}
    return meanings.get(key) or meanings.get(names[key], "")


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
        return _type(schema["$defs"][entry["$ref"].rsplit("/", 1)[1]], schema)
    if choices := entry.get("anyOf", entry.get("oneOf")):
        kinds = [_type(choice, schema) for choice in choices if choice.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "const" in entry or "enum" in entry:
        return " or ".join(f"`{json.dumps(value)}`" for value in entry.get("enum", [entry.get("const")]))
    return _array(entry, schema) if entry.get("type") == "array" else _single(entry)


_WORDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "table",
}


def _single(entry: Schema) -> str:
    if entry.get("pattern") == NAME:
        return "name"
    return _WORDS[entry["type"]] + _bounds(entry)


def _array(entry: Schema, schema: Schema) -> str:
    if "prefixItems" in entry:
        kinds = list(dict.fromkeys(_type(item, schema) for item in entry["prefixItems"]))
        return f"list of {len(entry['prefixItems'])} ({'; '.join(kinds)})"
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
