"""A lease: who works on a folder, so that two people or programs do not lose each other's work.

A lease is a small file with a number, ``lease-000007.json``. The highest number counts. Taking one
is creating the next number, which the file system lets only one do; giving it back marks it as
over. So a lease that its holder left behind (killed, switched off) is taken over without a moment
at which two could hold it, on network drives too.
"""

from __future__ import annotations

import getpass
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from sammed.errors import OutputError, SammedError
from sammed.io.output import atomic_text, output_error

STALE_S = 12 * 3600.0
"""A lease that was not renewed for so long is anybody's, wherever its holder was."""

WAIT_S = 10.0
"""How long short work waits for another's short work."""

_NAME = "lease-{:06}.json"

_DEAD = ("Z", "X")
"""States of a process that has ended and whose parent has not heard of it yet."""


class InWorkError(SammedError):
    """Somebody else works on it, or has taken it over."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lease.

    Attributes
    ----------
    user, host, pid
        Of the program.
    born
        What tells a process from a later one of the same number; empty where nothing does.
    since
        Seconds since 1970 at which it was taken.
    token
        Of this lease alone.
    over
        Whether it was given back.
    renewed
        Seconds since 1970 at which its holder was last known to be at work.
    fresh_s
        Not renewed for so many seconds, it is anybody's; 0: for `STALE_S`.
    """

    user: str
    host: str
    pid: int
    born: str
    since: float
    token: str
    over: bool = False
    renewed: float = 0.0
    fresh_s: float = 0.0

    @property
    def is_free(self) -> bool:
        """Whether the lease may be taken over."""
        if self.over or time.time() - max(self.since, self.renewed) > (self.fresh_s or STALE_S):
            return True
        return self.host == socket.gethostname() and not _alive(self.pid, self.born)

    @property
    def told(self) -> str:
        """For a message."""
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.since))
        return f"{self.user or 'somebody'} on {self.host} (process {self.pid}) since {when}"


class Lease:
    """A lease that this program holds.

    Parameters
    ----------
    folder
        What it is for.
    number, holder
        Of its file.
    """

    def __init__(self, folder: Path, number: int, holder: Holder) -> None:
        self._folder = folder
        self._number = number
        self.holder = holder

    def check(self) -> None:
        """Make sure that it is still ours.

        Raises
        ------
        InWorkError
            If somebody has taken it over.
        """
        number, holder = _highest(self._folder)
        if number != self._number or holder is None or holder.token != self.holder.token:
            who = holder.told if holder else "somebody"
            raise InWorkError(
                f"{self._folder.name} was taken over by {who}; what was not saved before is lost"
            )

    def renew(self) -> None:
        """Say that its holder is still at work."""
        self.check()
        self._say(Holder(**{**asdict(self.holder), "renewed": time.time()}))

    def give_back(self) -> None:
        """Let others have it; nothing happens if they have it already."""
        number, holder = _highest(self._folder)
        if number == self._number and holder and holder.token == self.holder.token:
            self._say(Holder(**{**asdict(self.holder), "over": True}))

    def _say(self, holder: Holder) -> None:
        self.holder = holder
        atomic_text(self._folder / _NAME.format(self._number), _text(holder), force=True)


def holder_of(folder: Path) -> Holder | None:
    """Who works on a folder now; ``None`` if nobody does.

    Parameters
    ----------
    folder
        Of a case, or of the project.
    """
    holder = _highest(folder)[1]
    return None if holder is None or holder.is_free else holder


def take(folder: Path, wait_s: float = 0.0, fresh_s: float = 0.0) -> Lease:
    """Take the lease of a folder.

    Parameters
    ----------
    folder
        Of a case, or of the project.
    wait_s
        How long to wait for whoever holds it.
    fresh_s
        Not renewed for so many seconds, it is anybody's; 0: for `STALE_S`.

    Raises
    ------
    InWorkError
        If somebody else holds it.
    OutputError
        If the folder cannot be written to.
    """
    until = time.monotonic() + wait_s
    while True:
        number, holder = _highest(folder)
        if holder is None or holder.is_free:
            mine = _me(fresh_s)
            if _create(folder, number + 1, mine) and _highest(folder)[0] == number + 1:
                for old in range(max(number - 2, 1), number + 1):
                    (folder / _NAME.format(old)).unlink(missing_ok=True)
                return Lease(folder, number + 1, mine)
            if (there := _read(folder, number + 1)) and there.token == mine.token:
                (folder / _NAME.format(number + 1)).unlink(missing_ok=True)  # others were ahead
        if time.monotonic() >= until:
            who = holder.told if holder else "somebody"
            raise InWorkError(f"{folder.name} is in work: {who}; wait, or take another case")
        time.sleep(0.02)


@contextmanager
def held(folder: Path, wait_s: float = WAIT_S, fresh_s: float = 0.0) -> Iterator[Lease]:
    """The lease of a folder for a while; a short one is renewed meanwhile, by a thread.

    Parameters
    ----------
    folder, wait_s, fresh_s
        As `take`.
    """
    lease = take(folder, wait_s, fresh_s)
    over = threading.Event()
    keeper = threading.Thread(target=_keep, args=(lease, over, fresh_s / 4), daemon=True)
    if fresh_s:
        keeper.start()
    try:
        yield lease
    finally:
        over.set()
        if keeper.ident is not None:
            keeper.join()
        lease.give_back()


def _keep(lease: Lease, over: threading.Event, every_s: float) -> None:
    while not over.wait(every_s):
        with suppress(SammedError):  # its holder will notice before anything is written
            lease.renew()


def _highest(folder: Path) -> tuple[int, Holder | None]:
    try:
        names = [name for name in os.listdir(folder) if name.startswith("lease-")]
    except OSError as error:
        raise output_error(folder, error) from error
    numbers = [int(name[6:12]) for name in names if name[6:12].isdigit() and len(name) == 17]
    if not numbers:
        return 0, None
    return max(numbers), _read(folder, max(numbers))


def _read(folder: Path, number: int) -> Holder | None:
    path = folder / _NAME.format(number)
    try:
        return Holder(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, OSError):
        try:  # on drives without links a file can be seen before its content is
            return Holder("", "another computer", 0, "", path.stat().st_mtime, "")
        except OSError:
            return None


def _create(folder: Path, number: int, holder: Holder) -> bool:
    """Create the file of a lease with its content at once, unless it is there."""
    path = folder / _NAME.format(number)
    temporary = folder / f".{path.name}.{holder.token}"
    try:
        temporary.write_text(_text(holder), encoding="utf-8")
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError:  # a drive without links
            return _create_in_place(path, holder)
        return True
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _create_in_place(path: Path, holder: Holder) -> bool:
    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.write(_text(holder))
    except FileExistsError:
        return False
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    return True


def _text(holder: Holder) -> str:
    return json.dumps(asdict(holder)) + "\n"


def user_name() -> str:
    """Who runs this program, as far as the system tells."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""


def _me(fresh_s: float) -> Holder:
    pid = os.getpid()
    host, token = socket.gethostname(), secrets.token_hex(8)
    return Holder(user_name(), host, pid, _born(pid), time.time(), token, fresh_s=fresh_s)


def _born(pid: int) -> str:
    """When a process began, where the system tells by a file (Linux)."""
    return _stat(pid)[1]


def _stat(pid: int) -> tuple[str, str]:
    """State of a process and when it began; both empty where no file tells."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return fields[0], fields[19]
    except (OSError, IndexError):
        return "", ""


def _alive(pid: int, born: str) -> bool:
    if os.name == "nt":
        return True  # only time tells: os.kill would end the process there
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    state, began = _stat(pid)
    return state not in _DEAD and (not born or began in ("", born))
