"""Requests as they arrive, checked field by field, and the errors that answer bad ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

PROTOCOL = 1
"""Version of the protocol; a change that old clients would misread raises it."""

MAX_LINE = 4 * 1024 * 1024
"""Longest request in bytes; arrays travel in files, not in lines."""

_REQUIRED: Any = object()


class RequestError(Exception):
    """A request that cannot be done, with the code that a program can act on.

    Attributes
    ----------
    code
        One of the codes of ``docs/worker.md``.
    request_id
        The request's id as far as it could be read.
    about
        What else a program may want to know, by name.
    """

    def __init__(self, code: str, message: str, request_id: object = None, **about: Any) -> None:
        super().__init__(message)
        self.code = code
        self.request_id = request_id
        self.about = about


@dataclass(frozen=True)
class Fields:
    """The fields of a request or of an object in it.

    Attributes
    ----------
    values
        As parsed from JSON.
    where
        What they belong to, for messages.
    """

    values: Mapping[str, Any]
    where: str

    def __contains__(self, name: str) -> bool:
        return self.values.get(name) is not None

    def text(self, name: str, default: Any = _REQUIRED) -> Any:
        """A string; the default if it is absent or null."""
        return self._get(name, default, str, "a string")

    def flag(self, name: str, default: Any = _REQUIRED) -> Any:
        """True or false."""
        return self._get(name, default, bool, "true or false")

    def whole(self, name: str, default: Any = _REQUIRED) -> Any:
        """A whole number."""
        value = self._get(name, default, int, "a whole number")
        if isinstance(value, bool):
            raise self._wrong(name, value, "a whole number")
        return value

    def texts(self, name: str) -> list[str]:
        """A list of strings; empty if it is absent or null."""
        values = self._get(name, [], list, "a list of strings")
        if not all(isinstance(v, str) for v in values):
            raise self._wrong(name, values, "a list of strings")
        return list(values)

    def wholes(self, name: str, count: int) -> list[int]:
        """A list of exactly that many whole numbers."""
        expected = f"a list of {count} whole numbers"
        values = self._get(name, _REQUIRED, list, expected)
        if len(values) != count or not all(type(v) is int for v in values):
            raise self._wrong(name, values, expected)
        return list(values)

    def matrix(self, name: str, rows: int, columns: int) -> list[list[float]]:
        """A list of rows of numbers."""
        expected = f"{rows} lists of {columns} numbers"
        values = self._get(name, _REQUIRED, list, expected)
        if len(values) != rows or not all(_is_row(row, columns) for row in values):
            raise self._wrong(name, values, expected)
        return [[float(v) for v in row] for row in values]

    def rows(self, name: str, columns: int) -> list[list[float]]:
        """A list of any number of rows of numbers."""
        expected = f"a list of lists of {columns} numbers"
        values = self._get(name, _REQUIRED, list, expected)
        if not all(_is_row(row, columns) for row in values):
            raise self._wrong(name, values, expected)
        return [[float(v) for v in row] for row in values]

    def part(self, name: str) -> Fields:
        """An object inside this one."""
        return Fields(self._get(name, _REQUIRED, dict, "an object"), f"{self.where}.{name}")

    def parts(self, name: str) -> list[Fields]:
        """A list of objects; empty if it is absent or null."""
        values = self._get(name, [], list, "a list of objects")
        if not all(isinstance(v, dict) for v in values):
            raise self._wrong(name, values, "a list of objects")
        return [Fields(v, f"{self.where}.{name}[{n}]") for n, v in enumerate(values)]

    def _get(self, name: str, default: Any, kind: type, expected: str) -> Any:
        value = self.values.get(name)
        if value is None:
            if default is _REQUIRED:
                raise RequestError("bad_request", f"{self.where}: {name!r} is missing; {expected}")
            return default
        if not isinstance(value, kind):
            raise self._wrong(name, value, expected)
        return value

    def _wrong(self, name: str, value: Any, expected: str) -> RequestError:
        found = json.dumps(value)
        found = found if len(found) <= 60 else found[:57] + "..."
        return RequestError(
            "bad_request", f"{self.where}: {name!r} must be {expected}; found {found}"
        )


def _is_row(value: object, columns: int) -> bool:
    if not isinstance(value, list) or len(value) != columns:
        return False
    return all(type(v) in (int, float) and isfinite(v) for v in value)


@dataclass(frozen=True)
class Request:
    """One line from the client.

    Attributes
    ----------
    id
        Chosen by the client; every answer to the request carries it.
    do
        What to do.
    fields
        All of the line.
    """

    id: int | str
    do: str
    fields: Fields


def parse(line: bytes) -> Request:
    """Read one line, or one message that stands for it.

    Raises
    ------
    RequestError
        ``malformed`` if it is no JSON object in UTF-8 with an ``id`` and a ``do``, or too long.
    """
    if len(line) > MAX_LINE:
        raise RequestError(
            "malformed", f"a line of more than {MAX_LINE} bytes; arrays belong into files"
        )
    try:
        values = json.loads(line.decode("utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise RequestError("malformed", f"not JSON in one line of UTF-8: {error}") from None
    if not isinstance(values, dict):
        raise RequestError("malformed", f"expected a JSON object, found {type(values).__name__}")
    request_id = values.get("id")
    if not isinstance(request_id, (int, str)) or isinstance(request_id, bool):
        raise RequestError("malformed", "the request has no 'id'; expected a number or a string")
    do = values.get("do")
    if not isinstance(do, str):
        raise RequestError("malformed", "the request has no 'do'", request_id)
    return Request(request_id, do, Fields(values, do))
