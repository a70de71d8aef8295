"""Ctrl-C while things are looked for: at once, even within a model's long answer."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

pytest.importorskip("skimage", reason="everything mode needs scikit-image, the extra 'everything'")

from sammed import io
from sammed.cli import main
from tests.everything.test_slices import Bright, two_columns


@pytest.mark.usefixtures("console")
def test_ctrl_c_is_heard_at_once_and_nothing_is_written(tmp_path, monkeypatch, capsys):
    end = threading.Event()

    class Slow(Bright):
        def everything(self, image, *, check):
            if not end.is_set():
                os.kill(os.getpid(), signal.SIGINT)
                end.wait(60)
            return []

    image = tmp_path / "columns.nii.gz"
    io.write_volume(two_columns(), image)
    monkeypatch.setattr("sammed.models.registry.build", lambda *_, **__: Slow())
    began = time.monotonic()
    code = main(["propose", str(image), "-o", str(tmp_path / "o.nii.gz"), "-q"])
    end.set()
    assert code == 130
    assert time.monotonic() - began < 20
    assert [path.name for path in tmp_path.iterdir()] == ["columns.nii.gz"]
    told = capsys.readouterr().err.strip().splitlines()
    assert told[-1] == "sammed: stopped; what was not finished was not written"
