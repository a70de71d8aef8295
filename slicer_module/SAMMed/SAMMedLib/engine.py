"""The engine as the module sees it: one worker process, asked step by step, never waited for.

`Engine.poll` is called by a timer. Each task is a generator that yields what it needs (an answer
of the worker, or something done in a thread) and goes on when that is there. The protocol is
described in docs/worker.md of sammed.
"""

from __future__ import annotations

import contextlib
import threading
import time

from slicer.i18n import tr as _

from .process import WorkerProcess
from .work import Aside, Ask, EngineError, read_part, read_result, write_array

PROTOCOL = 1

CANCEL_SECONDS = 0.35
"""A worker that has not stopped by then is ended; the next task starts another."""


class Engine:
    """Keeps a worker and gives it one task at a time.

    Parameters
    ----------
    launch
        Gives (command, environment) of the worker; may raise `EngineError`.

    Attributes
    ----------
    state
        ``"off"``, ``"starting"``, ``"ready"``, ``"busy"``, ``"cancelling"`` or ``"failed"``.
    hello
        What the worker says about itself, ``None`` until it has.
    aligned
        What was done to each channel of the volume, as the worker says it.
    """

    def __init__(self, launch):
        self._launch = launch
        self.state = "off"
        self.hello = None
        self.progress = None
        self._process = None
        self._log = []
        self._taught = {}
        self._reset_knowledge()
        self._task = None
        self._finish = None
        self._finish_is_users = False
        self._next = None
        self._pending = None
        self._aside = None
        self._count = 0
        self._deadline = None

    # -- what the module calls ---------------------------------------------------------------

    @property
    def busy(self):
        """Whether a task runs."""
        return self._task is not None

    @property
    def segmenting(self):
        """Whether an object is being segmented or waits to be."""
        return self._next is not None or (self.busy and self._finish_is_users)

    @property
    def log(self):
        """Last lines that the worker wrote to its log."""
        return list(self._process.log) if self._process else list(self._log)

    def taught(self, model):
        """Names of what a model was taught; ``None`` as long as it was not asked."""
        return self._taught.get(model)

    def prepare(self, work, finish):
        """Start the worker and hand the volume over while the user is still drawing."""
        if not self.busy:
            self._begin(self._prepare(work), finish)

    def check(self, finish):
        """Start the worker; ``finish(kind, value)`` with what it says about itself."""

        def greet():
            yield from self._greet(None)
            return self.hello

        self._begin(greet(), finish)

    def segment(self, work, finish):
        """Segment one object; ``finish(kind, value)`` is called from `poll`.

        ``kind`` is ``"done"`` with a `Result`, ``"cancelled"``, or ``"failed"`` with an
        `EngineError`; before it ``"partial"`` with a `SlicePart` for each prompted slice.

        Raises
        ------
        EngineError
            If another object is being segmented.
        """
        if self.segmenting:
            words = _("another segmentation is running; cancel it first")
            raise EngineError("busy", words)
        self._run(self._segment(work), finish)

    def ask(self, work, steps, finish):
        """Ask for something else about a volume, as `segment` does for an object.

        Parameters
        ----------
        work
            The volume, the model and its options.
        steps
            Called with what the worker says about itself; a task that yields `Ask` and `Aside`.
        finish
            As of `segment`; with ``"done"`` comes what the task returns.

        Raises
        ------
        EngineError
            If something of the user's is under way.
        """
        if self.segmenting:
            words = _("another segmentation is running; cancel it first")
            raise EngineError("busy", words)
        self._run(self._errand(work, steps), finish)

    def _run(self, task, finish):
        if self.busy:
            self._next = (task, finish)
        else:
            self._begin(task, finish, users=True)

    def cancel(self):
        """Ask the running task to end; it does within `CANCEL_SECONDS`."""
        if not self.busy or self.state == "cancelling":
            return
        self.state = "cancelling"
        self._deadline = time.monotonic() + CANCEL_SECONDS
        if self._pending is not None and self._process is not None:
            self._send("cancel", {"request": self._pending})

    def stop(self):
        """End the worker, and with it whatever runs."""
        waiting, self._next = self._next, None
        self._kill()
        self.state = "off"
        self._close("cancelled", None)
        if waiting:
            waiting[1]("cancelled", None)

    def poll(self):
        """Take in what has happened; call it some fifty times a second."""
        if self._process is not None:
            for message in self._process.poll():
                self._take(message)
        aside = self._aside
        if aside is not None and aside.done.is_set():
            self._aside = None
            self._advance(aside.value, aside.error)
        if self._deadline is not None and time.monotonic() > self._deadline:
            self._kill()
            self._cancelled()

    # -- tasks -------------------------------------------------------------------------------

    def _prepare(self, work):
        yield from self._greet(work.model, work.device)
        yield from self._hand_over(work.volume)
        yield from self._join(work)
        yield from self._set(work)

    def _segment(self, work):
        yield from self._prepare(work)
        yield from self._put(work)
        self.progress = None
        whole = [work.name] if work.whole else []
        answer = yield Ask("segment", {"whole": whole, "partial": True})
        result = read_result(answer, work.name)
        result.run["asked"] = work.model, self._structure(work)
        return result

    def _errand(self, work, steps):
        yield from self._prepare(work)
        self.progress = None
        return (yield from steps(self.hello))

    def _greet(self, model, device="auto"):
        if self._process is not None:
            return
        self.state = "starting"
        command, environment = self._launch()
        try:
            self._process = WorkerProcess(command, environment)
        except OSError as error:
            words = _("cannot start {program}: {why}")
            raise EngineError(
                "start", words.format(program=command[0], why=error.strerror)
            ) from error
        self._reset_knowledge()
        self.hello = None
        answer = yield Ask("hello", {"protocol": PROTOCOL, "model": model, "device": device})
        self.hello = answer
        self._process.exchange = answer["exchange"]

    def _hand_over(self, volume):
        if not volume.is_hashed:
            yield Aside(lambda: volume.hash)
        described = volume.describe()
        if self._current == described:
            return
        self._forget_session()
        answer = {"known": False}
        if volume.hash in self._volumes:
            answer = yield Ask("volume", described)
        if not answer["known"]:
            data = yield Aside(lambda: write_array(self.hello["exchange"], volume.array))
            answer = yield Ask("volume", {**described, "data": data})
        self._volumes.add(volume.hash)
        self._current = described
        self._objects = {name: None for name in answer["objects"]}
        self._channels = None if answer.get("channels") else ()  # None: not known which

    def _join(self, work):
        """Bring the channels of the volume to what is wanted; ``None`` leaves them as they are."""
        wanted = work.channels
        if wanted is None or (not wanted and self._channels == ()):
            return
        if "channels" not in self.hello["requests"]:
            words = _("this engine (sammed {version}) knows no channels: install a newer one")
            raise EngineError("old", words.format(version=self.hello["sammed"]))
        for channel in wanted:
            if not channel.volume.is_hashed:
                yield Aside(lambda volume=channel.volume: volume.hash)
        key = (work.own_name, work.align, [(c.name, c.volume.describe()) for c in wanted])
        key = key if wanted else ()
        if self._channels == key:
            return
        folder = self.hello["exchange"]
        told = yield Aside(lambda: [channel.write(folder) for channel in wanted])
        self._channels = None  # not known, should it be cancelled
        about = {"name": work.own_name, "align": work.align, "channels": told}
        answer = yield Ask("channels", about)
        self._channels = key
        self.aligned = answer["channels"]
        self._objects = {name: None for name in answer["objects"]}

    def _set(self, work):
        wanted = {"model": work.model, "device": work.device, "options": work.options}
        if self._settings == wanted:
            return
        for name in list(self._objects):  # what stays would be segmented again as well
            if name != work.name:
                yield from self._remove(name)
        self._settings = None  # not known, should it be cancelled
        answer = yield Ask("settings", wanted)
        self._settings = wanted
        takes = self.hello.get("structure")  # older engines know objects by their names alone
        self._taught[work.model] = {*answer["structures"], *answer["tuned"]} if takes else ()
        if answer["renewed"]:
            self._objects = {name: None for name in answer["objects"]}

    def _remove(self, name):
        try:
            yield Ask("remove", {"name": name})
        except EngineError as error:
            if error.code not in ("refused", "no_settings"):  # it is not there: as wanted
                raise
        self._objects.pop(name, None)

    def _structure(self, work):
        return work.structure(self._taught.get(work.model, ()))

    def _put(self, work):
        structure = self._structure(work)
        key = (repr(work.prompts), structure, [(tuple(b), v.tobytes()) for b, v in work.masks])
        if self._objects.get(work.name) == key:
            return
        masks = []
        if work.masks:
            folder = self.hello["exchange"]
            written = yield Aside(lambda: [write_array(folder, v) for _, v in work.masks])
            masks = [{"block": b, "data": d} for (b, _), d in zip(work.masks, written)]
        prompts = {**work.prompts, "name": work.name, "mask": masks, "structure": structure}
        self._objects[work.name] = None  # not known, should it be cancelled
        yield Ask("put", {"object": prompts})
        self._objects[work.name] = key

    # -- running them ------------------------------------------------------------------------

    def _begin(self, task, finish, users=False):
        self._task, self._finish, self._finish_is_users = task, finish, users
        self.progress = None
        self.state = "busy"
        self._advance(None)

    def _advance(self, value, error=None):
        """Give the task what it waited for and take its next step."""
        if self.state == "cancelling":
            self._cancelled()
            return
        try:
            step = self._task.throw(error) if error is not None else self._task.send(value)
        except StopIteration as end:
            self.state = "ready"
            self._close("done", end.value)
        except EngineError as failure:
            self._failed(failure)
        except Exception as failure:
            self._failed(EngineError("internal", f"{type(failure).__name__}: {failure}"))
        else:
            self._take_step(step)

    def _take_step(self, step):
        if isinstance(step, Aside):
            self._aside = _Thread(step.function)
            return
        if self.state != "starting" or step.do != "hello":
            self.state = "busy"
        self._pending = self._send(step.do, step.fields)

    def _send(self, do, fields):
        self._count += 1
        self._process.send({"id": self._count, "do": do, **fields})
        return self._count  # a worker that is gone is told by its last message

    def _take(self, message):
        event = message.get("event")
        if event == "ended":
            self._ended()
        elif message.get("id") != self._pending or self._pending is None:
            return
        elif event == "progress":
            self.progress = message
        elif event == "partial":
            with contextlib.suppress(OSError):  # the worker is gone, which it is told next
                part = read_part(message) if self.state == "busy" else None
                if part is not None:
                    self._finish("partial", part)
        else:
            self._pending = None
            if event == "cancelled":
                self._cancelled()
            elif event == "error":
                told = message["error"]
                self._advance(None, EngineError(told["code"], told["message"]))
            else:
                self._advance(message)

    def _ended(self):
        lines = [line for line in self.log if line.strip()]
        never = self.hello is None
        cancelling = self.state == "cancelling"
        self._kill()
        if cancelling:
            self._cancelled()
        elif self.busy:
            self._failed(_why_ended(lines, never))
        else:
            self.state = "off"

    def _failed(self, error):
        if self._process is not None and self.hello is None:
            self._kill()
        self.state = "failed"
        self._close("failed", error)

    def _cancelled(self):
        if self.hello is None:  # what it answers now would be lost
            self._kill()
        self.state = "ready" if self._process is not None else "off"
        self._close("cancelled", None)

    def _close(self, kind, value):
        task, finish = self._task, self._finish
        waiting, self._next = self._next, None
        self._task = self._finish = self._pending = self._aside = self._deadline = None
        if task is not None:
            task.close()
        if finish is not None:
            finish(kind, value)
        if waiting is None:
            return
        if kind == "done":
            self._begin(waiting[0], waiting[1], users=True)
        else:
            waiting[1](kind, value)

    def _kill(self):
        if self._process is not None:
            self._log = list(self._process.log)
            self._process.kill()
        self._process = None
        self.hello = None
        self._reset_knowledge()

    def _reset_knowledge(self):
        """A new worker knows nothing."""
        self._volumes = set()
        self._forget_session()

    def _forget_session(self):
        self._current = None
        self._settings = None
        self._objects = {}
        self._channels = ()
        self.aligned = []


class _Thread:
    """A function's value, once it is there."""

    def __init__(self, function):
        self.done = threading.Event()
        self.value = None
        self.error = None
        threading.Thread(target=self._run, args=(function,), daemon=True).start()

    def _run(self, function):
        try:
            self.value = function()
        except EngineError as error:
            self.error = error
        except Exception as error:
            self.error = EngineError("internal", f"{type(error).__name__}: {error}")
        finally:
            self.done.set()


def _why_ended(lines, never):
    """What to tell the user of a worker that has ended by itself."""
    last = lines[-1] if lines else _("no message")
    if never and any(
        "No module named 'sammed'" in line or "No module named sammed" in line for line in lines
    ):
        return EngineError(
            "no_sammed", _("this Python has no sammed; install it, or choose another")
        )
    if never:
        return EngineError("start", _("the engine did not start: {last}").format(last=last))
    words = _("the engine ended unexpectedly ({last}); press Segment again")
    return EngineError("ended", words.format(last=last))
