"""How arrays travel beside the messages: what a transport offers to the service.

A message refers to an array; where the numbers are is the transport's matter: in files of a folder
(`sammed.worker.exchange`) or in binary messages that follow (`Attached`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sammed.worker.messages import Fields, RequestError


class Arrays(Protocol):
    """Reads the arrays of requests and takes those of answers."""

    @property
    def place(self) -> str:
        """Where the client may put its arrays; empty if they come with the messages."""
        ...

    def read(self, reference: Fields) -> NDArray[np.generic]:
        """The array of a request, read-only."""
        ...

    def write(self, array: NDArray[np.generic]) -> dict[str, Any]:
        """Take an array for the next message; the reference to it."""
        ...

    def release(self) -> None:
        """Let go of the arrays of former answers."""
        ...

    def forget(self, reference: Fields) -> None:
        """Let go of an array of a request."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


class Attached:
    """Arrays as binary messages that follow the one that refers to them.

    A reference is ``{"frame", "dtype", "shape"}``: which of the messages that follow, from 0.

    Examples
    --------
    >>> arrays = Attached()
    >>> reference = arrays.write(np.array([[1, 2, 3]], np.uint8))
    >>> reference
    {'frame': 0, 'dtype': '|u1', 'shape': [1, 3]}
    >>> arrays.bring(arrays.take())
    >>> arrays.read(Fields(reference, "data")).tolist()
    [[1, 2, 3]]
    """

    place = ""

    def __init__(self) -> None:
        self._came: Sequence[bytes] = ()
        self._goes: list[memoryview] = []

    @property
    def came(self) -> Sequence[bytes]:
        """What came with the request that is answered."""
        return self._came

    def bring(self, frames: Sequence[bytes | memoryview]) -> None:
        """What came with the request that is answered next."""
        self._came = [bytes(frame) for frame in frames]

    @contextmanager
    def instead(self, frames: Sequence[bytes | memoryview]) -> Iterator[None]:
        """For the time being, as if these had come; nothing that is written meanwhile goes."""
        came, goes = self._came, self._goes
        self.bring(frames)
        self._goes = []
        try:
            yield
        finally:
            self._came, self._goes = came, goes

    def take(self) -> list[memoryview]:
        """What goes with the message that is sent now; the next one begins anew."""
        goes, self._goes = self._goes, []
        return goes

    def read(self, reference: Fields) -> NDArray[np.generic]:
        """The array of a reference, read-only and not copied.

        Raises
        ------
        RequestError
            ``bad_request`` if it is not one of numbers, ``exchange`` if there is no such message,
            or one of another length.
        """
        number = reference.whole("frame")
        dtype = number_type(reference)
        shape = array_shape(reference)
        if not 0 <= number < len(self._came):
            raise RequestError(
                "exchange",
                f"{reference.where}: there is no frame {number}; {len(self._came)} came with the "
                "request",
            )
        came, needed = self._came[number], dtype.itemsize * prod(shape)
        if len(came) != needed:
            raise RequestError(
                "exchange",
                f"{reference.where}: frame {number} has {len(came)} bytes, its reference asks for "
                f"{needed}",
            )
        return np.frombuffer(came, dtype).reshape(shape)

    def write(self, array: NDArray[np.generic]) -> dict[str, Any]:
        """Send an array with the next message."""
        plain = np.ascontiguousarray(array)
        self._goes.append(plain.data.cast("B") if plain.size else memoryview(b""))
        return {
            "frame": len(self._goes) - 1,
            "dtype": array.dtype.str,
            "shape": list(array.shape),
        }

    def release(self) -> None:
        """Forget arrays that no message took."""
        self._goes = []

    def forget(self, reference: Fields) -> None:
        """Nothing: frames go with their request."""

    def close(self) -> None:
        """Let go of everything."""
        self._came, self._goes = (), []


def number_type(reference: Fields) -> np.dtype[Any]:
    """The dtype of a reference.

    Raises
    ------
    RequestError
        ``bad_request`` if it is not one of numbers.
    """
    text = reference.text("dtype")
    try:
        dtype = np.dtype(text)
    except (TypeError, ValueError, SyntaxError):
        dtype = np.dtype(object)
    if dtype.kind not in "biuf":
        raise RequestError(
            "bad_request",
            f"{reference.where}: dtype {text!r} is not one of numbers such as '<i2' or '|u1'",
        )
    return dtype


def array_shape(reference: Fields) -> tuple[int, ...]:
    """The shape of a reference.

    Raises
    ------
    RequestError
        ``bad_request`` if it is none, or empty.
    """
    shape = reference.values.get("shape")
    if not isinstance(shape, list) or not shape or not all(type(n) is int for n in shape):
        raise RequestError("bad_request", f"{reference.where}: 'shape' must be a list of numbers")
    if min(shape) < 1:
        raise RequestError("bad_request", f"{reference.where}: 'shape' {shape} is empty")
    return tuple(shape)
