"""Networks that grow go on from what they answered."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from sammed.cli import main
from sammed.errors import InputError
from sammed.models.compact.model import load_net
from sammed.models.compact.net import PLANES, Architecture, CompactNet
from sammed.training import grow
from sammed.training.checkpoint import export_weights

TINY = Architecture((8, 8, 16, 16), (1, 1, 1, 1), (1, 1, 1), 4, 3)
LARGER = replace(TINY, blocks=(1, 2, 1, 1), rising=(2, 1, 2))


def exported(path, architecture=TINY):
    torch.manual_seed(1)
    export_weights(path, CompactNet(architecture).state_dict(), architecture.tag)
    return path


def test_a_grown_network_answers_as_the_smaller_one_and_learns_on(tmp_path):
    path = exported(tmp_path / "a.safetensors")
    grow.grow(path, tmp_path / "b.safetensors", CompactNet(LARGER))
    one, other = load_net(path)[0], load_net(tmp_path / "b.safetensors")[0]
    assert other.architecture == LARGER
    sizes = [sum(p.numel() for p in net.parameters()) for net in (one, other)]
    assert sizes[1] > sizes[0]
    planes = torch.rand(2, PLANES, 96, 96)
    with torch.no_grad():
        for mine, theirs in zip(other(planes), one(planes), strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-3)
    other(planes)[0].square().sum().backward()
    scale = other.decoder[0][1].second[1].weight  # zero so far
    assert not scale.any()
    assert scale.grad.abs().max() > 0


def test_a_network_that_cannot_grow_is_a_clear_error(tmp_path):
    small = exported(tmp_path / "a.safetensors")
    with pytest.raises(InputError, match=r"cannot grow .*have no place there"):
        grow.grow(small, tmp_path / "b.safetensors", CompactNet(replace(TINY, fine=8)))
    with pytest.raises(InputError, match="exists"):
        grow.grow(small, small, CompactNet(TINY))
    assert not (tmp_path / "b.safetensors").exists()


def test_weights_of_the_former_layout_can_grow(tmp_path):
    """They had one block a size on the way up, and no number for it."""
    now = exported(tmp_path / "now.safetensors")
    with safe_open(now, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    former = {re.sub(r"^decoder\.(\d)\.0", r"decoder.\1", k): v for k, v in tensors.items()}
    assert former.keys() != tensors.keys()
    save_file(former, tmp_path / "former.safetensors", {"architecture": "compact-unet/2"})
    grow.grow(tmp_path / "former.safetensors", tmp_path / "b.safetensors", CompactNet(TINY))
    old, new = load_net(tmp_path / "b.safetensors")[0], load_net(now)[0]
    torch.testing.assert_close(old.state_dict(), new.state_dict())


def test_growing_on_the_command_line_answers_in_one_line(tmp_path, capsys):
    present = Architecture()
    small = exported(tmp_path / "a.safetensors", replace(present, blocks=(1, 1, 1, 1)))
    command = ["train", "grow", str(tmp_path / "b.safetensors"), str(small)]
    assert main(command) == 0
    assert load_net(tmp_path / "b.safetensors")[0].architecture == present
    capsys.readouterr()
    assert main(command) == 1
    assert re.fullmatch("sammed: .*exists.*\n", capsys.readouterr().err)
