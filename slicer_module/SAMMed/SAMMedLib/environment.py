"""The engine's own Python environment: made, measured and removed; Slicer's is never touched.

It is made by Slicer's Python with ``venv``, or by ``uv`` where that is installed. Nothing waits:
`Installation.poll` is called by a timer.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

from slicer.i18n import tr as _

from .work import EngineError

MARK = "sammed-engine.json"
"""A file that is written last: without it the environment is not complete."""

CPU_TORCH = "https://download.pytorch.org/whl/cpu"

_PYTHON_VARIABLES = ("PYTHONHOME", "PYTHONPATH", "PYTHONNOUSERSITE", "PYTHONSTARTUP")
_FETCHED = re.compile(r"^\s*Downloading (\S+?)(?:-\d\S*)? \(([\d.]+ [kMG]?B)\)")
_WORDS = (
    (re.compile(r"^\s*Collecting (\S+)"), "looking for {0}"),
    (re.compile(r"^\s*Building wheel"), "building"),
    (re.compile(r"^Installing collected packages"), "unpacking; this takes a minute"),
    (re.compile(r"^\s*(?:Downloading|Prepared|Resolved|Installed) (.+)"), "{0}"),
)


class Environment:
    """A folder with a Python that has the engine.

    Parameters
    ----------
    folder
        Where; nothing else lies in it.
    """

    def __init__(self, folder):
        self.folder = folder

    @property
    def python(self):
        """Its interpreter."""
        place = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
        return os.path.join(self.folder, *place)

    @property
    def is_installed(self):
        """Whether it is there and complete."""
        return os.path.isfile(os.path.join(self.folder, MARK)) and os.path.isfile(self.python)

    def variables(self):
        """The environment variables for its programs: this process's without Slicer's Python.

        The libraries' paths stay: the interpreter is Slicer's own.
        """
        return {n: v for n, v in os.environ.items() if n not in _PYTHON_VARIABLES}

    def size(self):
        """Bytes that it takes on the disk."""
        total = 0
        for folder, _folders, names in os.walk(self.folder):
            for name in names:
                with contextlib.suppress(OSError):
                    total += os.lstat(os.path.join(folder, name)).st_size
        return total

    def remove(self):
        """Remove it with all that it holds."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def steps(self, base, wanted, nvidia):
        """The commands that make it.

        Parameters
        ----------
        base
            The Python from which it is made.
        wanted : list of str
            For pip.
        nvidia
            Whether PyTorch is to use an NVIDIA GPU.
        """
        uv = shutil.which("uv")
        if uv:
            backend = "auto" if nvidia else "cpu"
            install = ["pip", "install", "--python", self.python, f"--torch-backend={backend}"]
            return [
                [uv, "venv", "--python", ">=3.10,<3.14", self.folder],
                [uv, *install, *wanted],
            ]
        index = [] if nvidia or sys.platform != "linux" else ["--extra-index-url", CPU_TORCH]
        pip = ["-I", "-m", "pip", "--disable-pip-version-check", "install", "--progress-bar", "off"]
        return [
            [base, "-m", "venv", self.folder],
            [self.python, *pip, *index, *wanted],
        ]


class Installation:
    """Makes an environment, step by step, while the application goes on.

    Parameters
    ----------
    environment
        See `Environment`; what is there is removed first.
    steps
        Commands, as `Environment.steps` gives them.

    Attributes
    ----------
    state
        ``"running"``, ``"done"``, ``"failed"`` or ``"cancelled"``.
    text
        What it does, or why it failed.
    log
        Last lines of the programs.
    """

    def __init__(self, environment, steps):
        self.environment = environment
        self.state, self.text = "running", _("making the environment")
        self.log = collections.deque(maxlen=200)
        self.fetched = 0.0
        self._lines = queue.Queue()
        self._steps = list(steps)
        self._process = None
        self._started = time.monotonic()
        environment.remove()
        os.makedirs(os.path.dirname(environment.folder), exist_ok=True)
        self._next()

    @property
    def seconds(self):
        """How long it has run."""
        return time.monotonic() - self._started

    def poll(self):
        """Take in what was said; begin the next step when one has ended."""
        if self.state != "running":
            return
        while True:
            try:
                line = self._lines.get_nowait()
            except queue.Empty:
                return
            if line is None:
                self._ended(self._process.wait())
                return
            self.log.append(line)
            self._understand(line)

    def cancel(self):
        """Stop it, and remove what was made."""
        if self.state == "running":
            self._end("cancelled", _("cancelled; nothing is left of it"))

    def _next(self):
        variables = self.environment.variables()
        variables["PIP_REQUIRE_VIRTUALENV"] = "1"  # pip refuses to touch any other Python
        options = {"start_new_session": True} if os.name == "posix" else {}
        if os.name == "nt":
            options["creationflags"] = subprocess.CREATE_NO_WINDOW
        try:
            self._process = subprocess.Popen(
                self._steps.pop(0),
                env=variables,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                **options,
            )
        except OSError as error:
            words = _("{program} cannot be run: {why}")
            self._end("failed", words.format(program=error.filename, why=error.strerror))
            return
        threading.Thread(target=self._read, args=(self._process,), daemon=True).start()

    def _read(self, process):
        for line in process.stdout:
            self._lines.put(line.decode("utf-8", "replace").rstrip())
        self._lines.put(None)

    def _understand(self, line):
        fetched = _FETCHED.match(line)
        if fetched:
            number, unit = fetched[2].split()
            self.fetched += float(number) * {"B": 1e-6, "kB": 1e-3, "MB": 1, "GB": 1e3}[unit]
            words = _("fetching {package} ({size}), {total} MB so far")
            self.text = words.format(
                package=fetched[1], size=fetched[2], total=f"{self.fetched:.0f}"
            )
            return
        for pattern, words in _WORDS:
            found = pattern.match(line)
            if found:
                self.text = _(words).format(*found.groups())
                return

    def _ended(self, code):
        if code:
            said = [line for line in self.log if line.strip() and not line.startswith("[notice]")]
            why = next(
                (x for x in reversed(said) if "ERROR" in x or "error" in x), (said or [""])[-1]
            )
            words = _("the installation failed: {why}")
            self._end("failed", words.format(why=why.strip() or code))
        elif self._steps:
            self.text = _("asking for packages")
            self._next()
        else:
            path = os.path.join(self.environment.folder, MARK)
            with open(path, "w", encoding="utf-8") as file:
                json.dump({"made": time.strftime("%Y-%m-%d %H:%M")}, file)
            self._finish("done", _("installed in {n} s").format(n=f"{self.seconds:.0f}"))

    def _end(self, state, text):
        process = self._process
        if process is not None and process.poll() is None:
            with contextlib.suppress(OSError):
                if os.name == "posix":
                    os.killpg(process.pid, signal.SIGKILL)
                else:
                    process.kill()
            process.wait()
        self.environment.remove()
        self._finish(state, text)

    def _finish(self, state, text):
        self.state, self.text = state, text


def begin(environment, base, wanted, nvidia):
    """Begin to install; see `Installation`.

    Raises
    ------
    EngineError
        If the folder cannot be made.
    """
    try:
        return Installation(environment, environment.steps(base, wanted, nvidia))
    except OSError as error:
        words = _("cannot make {folder}: {why}")
        raise EngineError(
            "install", words.format(folder=environment.folder, why=error.strerror)
        ) from error
