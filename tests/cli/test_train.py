"""``sammed train`` on the command line: what it says while it runs, and how it stops."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from sammed import cli
from sammed.training import commands
from sammed.training.trainer import Trainer
from tests.training.networks import RECIPE, InlineStream

pytestmark = pytest.mark.usefixtures("console", "threads")


class Small(Trainer):
    """Trains a network that is small enough for a test, four steps at most."""

    def __init__(self, recipe, out, task=None):
        super().__init__(RECIPE, out, task)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr("sammed.training.trainer.Stream", InlineStream)
    monkeypatch.setattr(commands, "Trainer", Small)
    monkeypatch.setattr(commands, "validate_synthetic", lambda net: {"dice": 0.5})


def train(tmp_path, *options):
    return cli.main(["train", "compact", "--out", str(tmp_path / "run"), *options])


def test_a_run_says_how_far_it_is_and_what_came_of_it(small, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sammed.cli.training.SECONDS_A_LINE", 0)
    assert train(tmp_path) == 0
    out, err = capsys.readouterr()
    assert out == ""
    first, *steps, last = err.splitlines()
    assert first == "making the first samples"
    assert [line.split()[:2] for line in steps] == [["step", str(n)] for n in (1, 2, 3, 4)]
    assert "loss" in steps[-1]
    assert "views/s" in steps[-1]
    assert "left" in steps[-1]
    assert last == f"4 steps, 16 samples; wrote {tmp_path / 'run' / 'compact.safetensors'}"


def test_without_a_terminal_lines_come_now_and_then(small, tmp_path, capsys):
    assert train(tmp_path) == 0
    first, last = capsys.readouterr().err.splitlines()
    assert first == "making the first samples"
    assert last.startswith("4 steps")


def test_quiet_says_nothing(small, tmp_path, capsys):
    assert train(tmp_path, "--quiet") == 0
    assert capsys.readouterr() == ("", "")


def test_a_bar_is_drawn_on_a_terminal(small, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    assert train(tmp_path) == 0
    drawn = capsys.readouterr().err
    assert "\x1b[" in drawn
    assert "loss" in drawn


def test_ctrl_c_says_how_to_go_on(small, tmp_path, capsys, monkeypatch):
    record = Small.train_step

    def interrupted(self, *arguments):
        if self.step == 2:
            raise KeyboardInterrupt
        return record(self, *arguments)

    with monkeypatch.context() as stopping:
        stopping.setattr(Small, "train_step", interrupted)
        assert train(tmp_path) == 130
    last = capsys.readouterr().err.splitlines()[-1]
    run = tmp_path / "run"
    assert last.startswith(f"sammed: stopped at step 2; {run / 'last.pt'} and compact.safetensors")
    assert last.endswith(f"sammed train compact --resume {run / 'last.pt'} --out {run}")
    assert train(tmp_path, "--resume", str(run / "last.pt")) == 0
    assert capsys.readouterr().err.splitlines()[-1].startswith("4 steps, 16 samples")


@pytest.mark.alone
@pytest.mark.thorough
@pytest.mark.skipif(os.name == "nt", reason="signals as on POSIX")
def test_ctrl_c_ends_the_program_and_all_that_it_started(tmp_path):
    """In a process group of its own, as on a terminal: the maker of samples hears Ctrl-C too."""
    started = subprocess.Popen(
        [sys.executable, "-m", "sammed", "train", "--out", str(tmp_path / "run")],
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert started.stderr.readline() == "making the first samples\n"
    while not (tmp_path / "run").exists():
        assert started.poll() is None
        time.sleep(0.02)
    time.sleep(0.2)
    at = time.monotonic()
    os.killpg(started.pid, signal.SIGINT)
    said = started.stderr.read()
    assert started.wait() == 130
    assert time.monotonic() - at < 5  # half a second, on a machine with nothing else to do
    assert said.count("\n") == 1, said
    assert "stopped at step 0" in said
    assert (tmp_path / "run" / "last.pt").is_file()


def test_the_group_names_its_commands(capsys):
    assert cli.main(["train", "--help"]) == 0
    told = capsys.readouterr().out
    assert "--minutes" in told
    for name in ("average", "grow", "plot", "sheet", "real-cases", "real-blocks", "previews"):
        assert f"\n    {name}" in told


def test_a_sheet_of_samples_is_drawn_once(tmp_path, capsys):
    out = tmp_path / "sheet.png"
    for options in ([], ["--blocks", "--force"]):
        shape = ["--rows", "1", "--columns", "1"]
        assert cli.main(["train", "sheet", str(out), *shape, *options]) == 0
        assert out.stat().st_size > 500
    assert cli.main(["train", "sheet", str(out)]) == 1
    assert "exists" in capsys.readouterr().err


def test_a_plot_of_what_is_no_run_is_a_clear_error(tmp_path, capsys):
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    for name in ("bad.csv", "none.csv"):
        assert cli.main(["train", "plot", str(tmp_path / name), str(tmp_path / "a.png")]) == 1
        assert name in capsys.readouterr().err
    (tmp_path / "good.csv").write_text("views,loss,mask\n10,2,1\n20,1,0.5\n")
    assert cli.main(["train", "plot", str(tmp_path / "good.csv"), str(tmp_path / "a.png")]) == 0
