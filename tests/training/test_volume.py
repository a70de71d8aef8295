"""How the network for volumes learns: its prompts, its runs, where its samples come from."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from sammed import cli
from sammed.errors import InputError
from sammed.models.compact import field_prompts as drawing
from sammed.models.compact.volume_model import load_volume_net
from sammed.models.compact.volume_net import VolumeArchitecture, VolumeNet
from sammed.synthesis.field_samples import FAMILIES
from sammed.synthesis.source import Source
from sammed.training.pool import Pool
from sammed.training.volume_batches import make_chunk, pack, unpack
from sammed.training.volume_prompts import Picker, corrected, first_prompts, shown
from sammed.training.volume_task import VolumeTask, reached_iou, volume_loss
from sammed.training.volume_trainer import VolumeOptions, train_volumes, volume_trainer
from sammed.training.volume_validation import validate_volumes
from tests.training.networks import InlineStream, losses

TINY = VolumeArchitecture((8, 8, 8, 8), (1, 1, 1, 1))
SIZE = 32


@pytest.fixture(scope="module")
def batch():
    samples = make_chunk(3, 0, 24, size=SIZE, source=Source())
    return unpack(pack(np.random.default_rng(0), samples), "cpu")


@pytest.fixture
def small(monkeypatch):
    """Data are made in this process, few at a time."""
    monkeypatch.setattr("sammed.training.trainer.Stream", InlineStream)
    monkeypatch.setattr("sammed.training.volume_trainer.CHUNK", 4)


def options(out, **given):
    usual = VolumeOptions(
        out=out,
        minutes=60,
        steps=4,
        seed=5,
        size=SIZE,
        batch=2,
        validation=0,
        architecture=TINY,
        bfloat16=False,
    )
    return replace(usual, **given)


def weights(trainer):
    return {name: value.clone() for name, value in trainer.net.state_dict().items()}


@pytest.mark.thorough
def test_the_same_seed_gives_the_same_weights(small, tmp_path):
    one, other = (train_volumes(options(tmp_path / name)) for name in ("a", "b"))
    assert losses(one) == losses(other)
    assert np.isfinite(losses(one)).all()
    for name, value in weights(one).items():
        torch.testing.assert_close(value, weights(other)[name], rtol=0, atol=0)


@pytest.mark.thorough
def test_a_resumed_run_goes_on_as_if_never_stopped(small, tmp_path):
    whole = train_volumes(options(tmp_path / "whole"))
    first = train_volumes(options(tmp_path / "parts", steps=2))
    assert first.step == 2
    second = train_volumes(options(tmp_path / "parts", resume=True))
    assert second.step == 4
    assert losses(first) + losses(second) == pytest.approx(losses(whole), rel=1e-5)
    for name, value in weights(whole).items():
        torch.testing.assert_close(value, weights(second)[name], rtol=1e-4, atol=1e-6)


def test_without_a_checkpoint_to_resume_a_run_begins(small, tmp_path):
    assert volume_trainer(options(tmp_path / "new", resume=True)).step == 0


def test_the_pieces_of_a_batch_sum_up(small, tmp_path):
    """Learned in pieces of one or at once, a batch without random prompts gives one gradient."""
    samples = make_chunk(3, 0, 4, size=SIZE, source=Source())
    arrays = pack(np.random.default_rng(0), samples)
    net = VolumeNet(TINY)
    found = unpack(arrays, "cpu")
    task = VolumeTask(Source(), TINY, SIZE)
    prompts = first_prompts(np.random.default_rng(0), found)
    grads = []
    for piece in (1, 4):
        net.zero_grad()
        for start in range(0, 4, piece):
            part = found.rows(slice(start, start + piece))
            seen = shown(part, prompts[start : start + piece])
            loss, _ = volume_loss(task.answer(net, seen, half=False), part)
            (loss * piece / 4).backward()
        grads.append(net.stem[0].weight.grad.clone())
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-3, atol=1e-6)


@pytest.mark.thorough
def test_a_run_leaves_weights_checkpoint_and_metrics(small, tmp_path, monkeypatch):
    monkeypatch.setattr("sammed.training.volume_trainer.CPU_REPORT", 2)
    out = tmp_path / "run" / "mine.safetensors"
    trainer = train_volumes(options(out, validation=8))
    assert out.is_file()
    assert trainer.checkpoint == tmp_path / "run" / "last.pt"
    assert load_volume_net(out)[0].architecture == TINY
    with (tmp_path / "run" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["2", "4", "4"]
    assert 0 <= float(rows[-1]["val_dice"]) <= 1
    assert rows[0]["loss"]
    again = train_volumes(options(tmp_path / "next", steps=1, init=out))
    assert again.step == 1


@pytest.mark.thorough
def test_many_workers_feed_a_run(tmp_path):
    trainer = train_volumes(options(tmp_path, workers=2, steps=2))
    assert trainer.step == 2
    assert np.isfinite(losses(trainer)).all()


def test_fields_that_the_network_cannot_take_are_refused(tmp_path):
    for size in (16, 40):
        with pytest.raises(InputError, match="multiple of 16"):
            volume_trainer(options(tmp_path, size=size))


def test_a_device_that_is_not_there_is_a_clear_error(tmp_path):
    from sammed.errors import BackendUnavailableError

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(BackendUnavailableError, match="try --device cpu"):
        volume_trainer(options(tmp_path, device="cuda"))


@pytest.mark.thorough
def test_the_command_trains(tmp_path, capsys, monkeypatch):
    """As a user would call it, stopped at once: the file named after --out is there."""
    monkeypatch.setattr("sammed.training.volume_validation.CLICKS", 0)
    monkeypatch.setattr("sammed.training.trainer.Stream", InlineStream)
    monkeypatch.setattr("sammed.training.volume_trainer.VALIDATED", 4)
    monkeypatch.setattr("sammed.training.volume_trainer.CHUNK", 2)
    out = tmp_path / "volume.safetensors"
    code = cli.main(
        ["train", "volume", "--steps", "1", "--batch", "1", "--field", "32", "--out", str(out)]
    )
    assert code == 0
    assert f"wrote {out}" in capsys.readouterr().err
    assert out.is_file()


@pytest.mark.slow
def test_a_run_stops_within_half_a_second(tmp_path):
    command = [sys.executable, "-m", "sammed", "train", "volume", "--out", str(tmp_path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as run:
        for line in run.stderr:
            if line.startswith("step"):
                break
        time.sleep(1)
        started = time.monotonic()
        run.send_signal(signal.SIGINT)
        rest = run.stderr.read()
    assert time.monotonic() - started < 3  # it waits for this machine's other work as well
    assert "--resume --out" in rest
    assert (tmp_path / "last.pt").is_file()


def test_turned_fields_are_the_same_fields(batch):
    """Turned and turned back; and boxes turn with what they hold."""
    turned = batch.turned((2, 0, 1), (True, False, True))
    back = turned.turned((0, 1, 2), (True, False, True)).turned((1, 2, 0), (False,) * 3)
    for name, value in vars(batch).items():
        torch.testing.assert_close(getattr(back, name), value, equal_nan=True)
    boxed = batch.family == list(FAMILIES).index("box")
    for one in (batch, turned):
        inside = drawing.blocks(one.box, SIZE)
        held = (inside & one.target).flatten(1).sum(1) / one.target.flatten(1).sum(1)
        assert (held[boxed] > 0.5).all()
        slab = batch.family == list(FAMILIES).index("slice")
        sides = (one.box[..., 1] - one.box[..., 0])[slab, one.axis[slab]]
        torch.testing.assert_close(sides, one.voxel[slab, one.axis[slab]], rtol=1e-3, atol=1e-3)


def test_what_is_said_first_is_in_the_object(batch):
    prompts = first_prompts(np.random.default_rng(1), batch, alone=True)
    for row, family in enumerate(batch.family.tolist()):
        said = {n for n, c in enumerate(prompts[row]) if c.any()}
        name = list(FAMILIES)[family]
        if name in ("box", "close"):
            assert drawing.BOX in said
        elif name == "slice":
            assert said == {drawing.SLAB}
        else:
            assert said & {drawing.CLICK_IN, drawing.STROKE_IN, drawing.PAINTED}
        for channel in (drawing.CLICK_IN, drawing.STROKE_IN):
            marked = prompts[row, channel] == 1
            assert not (marked & ~batch.target[row]).any()
        painted = prompts[row, drawing.PAINTED]
        assert torch.equal(painted[painted != 0] > 0, batch.target[row][painted != 0])
    assert (prompts[:, drawing.FORMER].flatten(1).any(1) == (batch.family == 3)).all()


def test_all_that_can_be_said_is_said_now_and_then(batch):
    prompts = [first_prompts(np.random.default_rng(n), batch) for n in range(12)]
    assert torch.stack(prompts).flatten(3).any(-1).any(0).any(0).all()


def test_the_same_seed_says_the_same(batch):
    one, other = (first_prompts(np.random.default_rng(7), batch) for _ in range(2))
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_a_correction_lies_in_the_error(batch):
    rng = np.random.default_rng(0)
    prompts = first_prompts(rng, batch, alone=True)
    prompts[:, (drawing.CLICK_IN, drawing.CLICK_OUT)] = 0
    wrong = batch.target.roll(6, 2)
    logits = wrong.float() * 8 - 4
    more = corrected(rng, batch, prompts, logits)
    for row in range(len(batch)):
        missed, beyond = more[row, drawing.CLICK_IN] == 1, more[row, drawing.CLICK_OUT] == 1
        assert missed.sum() + beyond.sum() == 1
        assert not (missed & ~(batch.target[row] & ~wrong[row])).any()
        assert not (beyond & ~(wrong[row] & ~batch.target[row])).any()
    torch.testing.assert_close(more[:, drawing.FORMER], drawing.former_channel(logits))
    assert not prompts[:, drawing.CLICK_IN].any(), "the former prompts were changed"


def test_a_right_answer_needs_no_click(batch):
    prompts = drawing.no_prompts(len(batch), SIZE)
    more = corrected(np.random.default_rng(0), batch, prompts, batch.target.float() * 8 - 4)
    assert not more[:, (drawing.CLICK_IN, drawing.CLICK_OUT)].any()


def test_places_lie_in_their_masks():
    mask = torch.zeros(3, SIZE, SIZE, SIZE, dtype=torch.bool)
    mask[0, 3:9, 20, 7:9] = True
    mask[1, 31, 31, 31] = True
    places, thickness = Picker.of(np.random.default_rng(0), "cpu").places(mask)
    assert mask[0][tuple(places[0].long())]
    assert places[1].tolist() == [31.5] * 3
    assert places[2].isnan().all()
    assert thickness[2] == 0 < thickness[1] < thickness[0]


def test_the_loss_of_a_right_answer_is_small(batch):
    logits = batch.target.float() * 20 - 10
    right, parts = volume_loss(
        (logits, torch.full((len(batch),), 9.0), batch.beyond * 20 - 10), batch
    )
    wrong, _ = volume_loss((-logits, torch.zeros(len(batch)), -(batch.beyond * 20 - 10)), batch)
    assert right < 0.1 < wrong
    assert parts["iou_chosen"] == 1
    assert reached_iou(-logits, batch.target).max() == 0


@pytest.mark.thorough
def test_validation_tells_every_kind_of_prompt():
    task = VolumeTask(Source(), TINY, SIZE)
    found = validate_volumes(task.network().eval(), task, half=False, count=32)
    assert {"dice", "clicked", "iou_r", "faces_auc", *FAMILIES} <= set(found)
    assert all(0 <= found[name] <= 1 for name in ("dice", "clicked"))
    again = validate_volumes(task.network().eval(), task, half=False, count=32)
    assert set(again) == set(found)


class Numbered:
    """Chunks of two samples that say which chunk they are of."""

    def __call__(self, index):
        return {"number": np.full((2, 3), index), "half": np.full(2, index, np.float16)}


def test_a_pool_replaces_its_oldest_samples():
    pool = Pool(Numbered(), workers=1, capacity=6, batch=40)
    for index in range(5):
        pool.put(Numbered()(index))
    drawn = pool.next()
    assert drawn["number"].shape == (40, 3)
    assert set(drawn["number"].flatten().tolist()) == {2, 3, 4}
    assert torch.equal(drawn["number"][:, 0].float(), drawn["half"].float())


@pytest.mark.thorough
def test_a_pool_is_filled_by_its_workers():
    with Pool(Numbered(), workers=2, capacity=64, batch=8, start=1) as pool:
        drawn = pool.next()
        assert drawn["number"].min() >= 1000
        until = time.monotonic() + 20
        while pool.received < 64 and time.monotonic() < until:
            time.sleep(0.01)
        numbers = set(pool.next()["number"].flatten().tolist())
    assert len(numbers) > 1
