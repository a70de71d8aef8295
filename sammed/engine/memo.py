"""Pure functions of prompts and masks, remembered by what they were computed from."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

_Value = TypeVar("_Value")


class Memo:
    """The values that were computed last, by key; several threads may ask.

    Parameters
    ----------
    limit
        How many are kept; the least recently used one goes.

    Examples
    --------
    >>> memo = Memo(2)
    >>> memo.remember("a", lambda: 1), memo.remember("a", lambda: 2)
    (1, 1)
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._known: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()

    def remember(self, key: Hashable, compute: Callable[[], _Value]) -> _Value:
        """The value of a key, computed if it is not known."""
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                known: _Value = self._known[key]
                return known
        value = compute()
        with self._lock:
            self._known[key] = value
            while len(self._known) > self.limit:
                self._known.popitem(last=False)
        return value
