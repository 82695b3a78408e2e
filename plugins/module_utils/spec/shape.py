"""Is one document of the right shape? pydantic's findings, in people's terms."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from .document import Document, Path_, dotted
from .model import PATTERN_HINTS
from .problems import Problem, shown

Model = TypeVar("Model", bound=BaseModel)

_MESSAGES = {
    "missing": "is missing",
    "extra_forbidden": "is no field of the spec",
    "greater_than_equal": "is too small",
    "less_than_equal": "is too large",
    "string_pattern_mismatch": "is no valid name",
    "literal_error": "is none of the known values",
    "too_short": "may not be empty",
    "too_long": "has too many entries",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "decimal_parsing": "must be a decimal number",
    "decimal_type": "must be a decimal number",
    "decimal_max_places": "has too many decimals",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "dict_type": "must be a mapping of names to entries",
    "tuple_type": "must be a list",
    "model_type": "must be a mapping of fields",
    "date_from_datetime_parsing": "must be a date",
    "date_parsing": "must be a date",
    "date_type": "must be a date",
    "datetime_from_date_parsing": "must be a time",
    "datetime_parsing": "must be a time",
}
_ALLOWED = {
    "greater_than_equal": "{ge} or more",
    "less_than_equal": "{le} or less",
    "too_short": "at least {min_length}",
    "too_long": "at most {max_length}",
    "string_too_long": "at most {max_length} characters",
    "string_too_short": "at least {min_length} characters",
    "decimal_max_places": "at most {decimal_places} decimals",
    "bool_type": "true, false",
    "date_from_datetime_parsing": "YYYY-MM-DD",
    "date_parsing": "YYYY-MM-DD",
    "date_type": "YYYY-MM-DD",
    "datetime_from_date_parsing": "YYYY-MM-DDTHH:MM:SS+HH:MM",
    "datetime_parsing": "YYYY-MM-DDTHH:MM:SS+HH:MM",
}


def read_shape(model: type[Model], document: Document) -> tuple[Model | None, tuple[Problem, ...]]:
    """The document as MODEL, or None and everything that is wrong with its shape."""
    if document.data is None:
        return None, ()
    try:
        return model.model_validate(document.data), ()
    except ValidationError as error:
        return None, tuple(_problem(model, document, details) for details in error.errors(include_url=False))


def _problem(model: type[BaseModel], document: Document, details: ErrorDetails) -> Problem:
    path = _path_in(document.data, details["loc"])
    kind, context = details["type"], details.get("ctx", {})
    allowed = _ALLOWED.get(kind, "").format(**context)
    message = _MESSAGES.get(kind, str(context.get("error", "")) or details["msg"])
    if kind == "extra_forbidden":
        allowed, message = _fields_hint(model, path, message)
    elif kind == "literal_error":
        allowed = str(context["expected"]).replace("'", "").replace(" or ", ", ")
    elif kind == "string_pattern_mismatch":
        allowed = PATTERN_HINTS.get(str(context["pattern"]), f"text matching {context['pattern']}")
    value = "" if kind == "missing" else shown(_value_at(document.data, path), dotted(path))
    return Problem(document.file, document.line(path), dotted(path), message, value, allowed)


def _fields_hint(model: type[BaseModel], path: Path_, message: str) -> tuple[str, str]:
    fields = sorted(_fields_at(model, path[:-1]))
    near = difflib.get_close_matches(str(path[-1]), fields, n=1)
    return ", ".join(fields), message + (f" (did you mean {near[0]}?)" if near else "")


def _path_in(data: Any, location: Iterable[str | int]) -> Path_:
    """pydantic's location without the words it adds for unions, validators and mapping keys."""
    path: list[str | int] = []
    for part in location:
        if part == "[key]":
            continue
        inside = _value_at(data, tuple(path))
        known = isinstance(inside, dict | list) or inside is None
        if known and not (isinstance(inside, dict) and isinstance(part, int)):
            path.append(part)
    return tuple(path)


def _value_at(data: Any, path: Path_) -> Any:
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _fields_at(model: type[BaseModel], path: Path_) -> set[str]:
    """The field names of the model that stands at PATH below MODEL."""
    annotation: Any = model
    for part in path:
        inner = _model_in(annotation)
        if isinstance(part, str) and inner is not None and not _is_mapping(annotation):
            annotation = _by_alias(inner).get(part)
        else:
            annotation = _item_of(annotation)
    found = _model_in(annotation)
    return set(_by_alias(found)) if found else set()


def _by_alias(model: type[BaseModel]) -> dict[str, Any]:
    return {info.alias or name: info.annotation for name, info in model.model_fields.items()}


def _is_mapping(annotation: Any) -> bool:
    return any(typing.get_origin(part) in (dict, Mapping) for part in _parts(annotation))


def _item_of(annotation: Any) -> Any:
    for part in _parts(annotation):
        if typing.get_origin(part) in (dict, tuple):
            arguments = [argument for argument in typing.get_args(part) if argument is not Ellipsis]
            return arguments[-1]
    return None


def _model_in(annotation: Any) -> type[BaseModel] | None:
    for part in _parts(annotation):
        if isinstance(part, type) and issubclass(part, BaseModel):
            return part
    return None


def _parts(annotation: Any) -> tuple[Any, ...]:
    """ANNOTATION and, where it is a union, its members."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _parts(typing.get_args(annotation)[0])
    members = typing.get_args(annotation) if origin in (typing.Union, type(int | str)) else ()
    return (annotation, *(part for member in members for part in _parts(member)))
