"""The worker process: started, talked to, and ended for certain. No Qt, no waiting."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import threading

LOG_LINES = 200
"""Last lines of the worker's messages that are kept for the log."""


class WorkerProcess:
    """A running worker.

    Parameters
    ----------
    command
        The program and its arguments.
    environment
        Its environment.

    Raises
    ------
    OSError
        If the program cannot be started.
    """

    def __init__(self, command, environment):
        self.log = collections.deque(maxlen=LOG_LINES)
        self.exchange = None
        self._messages = queue.Queue()
        options = {"start_new_session": True} if os.name == "posix" else {}
        if os.name == "nt":
            options["creationflags"] = subprocess.CREATE_NO_WINDOW
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            **options,
        )
        for read in (self._read_messages, self._read_log):
            threading.Thread(target=read, daemon=True).start()

    @property
    def pid(self):
        """Its process number."""
        return self._process.pid

    def send(self, message):
        """Send one message; false if the worker is gone."""
        try:
            self._process.stdin.write(json.dumps(message).encode("utf-8") + b"\n")
            self._process.stdin.flush()
        except (OSError, ValueError):
            return False
        return True

    def poll(self):
        """Messages that have arrived; the last is ``{"event": "ended"}`` once it is gone."""
        messages = []
        while True:
            try:
                messages.append(self._messages.get_nowait())
            except queue.Empty:
                return messages

    def kill(self):
        """End it now, whatever it does, and remove what it left."""
        with contextlib.suppress(OSError):
            self._process.stdin.close()  # a launcher's child notices this
        with contextlib.suppress(OSError):
            if os.name == "posix":
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
        threading.Thread(target=self._clear_up).start()  # the application's end waits for it

    def wait(self, seconds):
        """Whether it has ended within that time."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _clear_up(self):
        self._process.wait()
        if self.exchange:
            shutil.rmtree(self.exchange, ignore_errors=True)

    def _read_messages(self):
        for line in self._process.stdout:
            try:
                self._messages.put(json.loads(line))
            except ValueError:
                self.log.append("not understood: " + line.decode("utf-8", "replace").rstrip())
        self._messages.put({"id": None, "event": "ended"})

    def _read_log(self):
        for line in self._process.stderr:
            self.log.append(line.decode("utf-8", "replace").rstrip())
