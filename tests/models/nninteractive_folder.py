"""A model folder as nnInteractive publishes it, of a tiny network with random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

PATCH = (60, 64, 68)
"""More than twice the 24 voxels that the session leaves at each side when it looks again."""

ARCHITECTURE: dict[str, Any] = {
    "network_class_name": "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet",
    "arch_kwargs": {
        "n_stages": 2,
        "features_per_stage": [3, 6],
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[1, 1, 1], [3, 3, 3]],
        "strides": [[1, 1, 1], [2, 2, 2]],
        "n_blocks_per_stage": [1, 1],
        "n_conv_per_stage_decoder": [1],
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    },
    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
}

CONFIGURATION = "3d_fullres_ps192_bs24"


def plans(architecture: dict[str, Any] = ARCHITECTURE) -> dict[str, Any]:
    """What nnU-Net's managers read of a ``plans.json``; one configuration inherits another."""
    base = {
        "data_identifier": "tiny",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": list(PATCH),
        "spacing": [1.0, 1.0, 1.0],
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "architecture": architecture,
        "batch_dice": False,
    }
    return {
        "dataset_name": "Dataset001_Tiny",
        "plans_name": "nnUNetResEncUNetLPlans_noResampling",
        "image_reader_writer": "NibabelIOWithReorient",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {
            "3d_fullres_ps192": base,
            CONFIGURATION: {"inherits_from": "3d_fullres_ps192", "batch_size": 24},
        },
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {},
    }


DATASET = {
    "channel_names": {"0": "image"},
    "labels": {"background": 0, "object": 1},
    "numTraining": 1,
    "file_ending": ".nii.gz",
}

LEGACY = {"point_radius": 2, "preferred_scribble_thickness": 2, "interaction_decay": 0.9}
"""``inference_session_class.json``, as of v1.0, with smaller points."""

CAPABLE = {
    "inference_class": "nnInteractiveInferenceSession",
    "point_radius": 2,
    "preferred_scribble_thickness": [1, 2, 3],
    "interaction_decay": 0.98,
    "supported_interactions": {"bbox3d": True, "lasso": False},
    "supports_initial_label": False,
    "interaction_channels": 6,
}
"""``inference_info.json``, as of later models."""


def write_folder(
    folder: Path,
    network: torch.nn.Module | None = None,
    *,
    about: tuple[str, Any] = ("inference_session_class.json", LEGACY),
    beside: dict[str, Any] | None = None,
    architecture: dict[str, Any] = ARCHITECTURE,
) -> Path:
    """Write a model folder; its checkpoint holds what nnU-Net's hold beside the weights."""
    (folder / "fold_0").mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(plans(architecture)))
    (folder / "dataset.json").write_text(json.dumps(DATASET))
    (folder / about[0]).write_text(json.dumps(about[1]))
    (folder / "LICENSE").write_text("CC BY-NC-SA 4.0\nhttps://creativecommons.org/\n")
    weights = {"tiny": torch.ones(2)} if network is None else network.state_dict()
    held = {
        "network_weights": weights,
        "grad_scaler_state": {"scale": 1.0},
        "logging": {"mean_fg_dice": [np.float64(0.5), np.float32(0.25)], "epochs": [np.int64(3)]},
        "_best_ema": np.float64(0.75),
        "current_epoch": 3,
        "init_args": {"configuration": CONFIGURATION, "fold": 0, "device": torch.device("cpu")},
        "trainer_name": "nnInteractiveTrainer_stub",
        "inference_allowed_mirroring_axes": (0, 1, 2),
    }
    torch.save({**held, **(beside or {})}, folder / "fold_0" / "checkpoint_final.pth")
    return folder


def tiny_network(seed: int = 0, inputs: int = 8, rare: float = 0.0) -> torch.nn.Module:
    """A network of `ARCHITECTURE` whose answers depend on image, prompts and former mask.

    Parameters
    ----------
    seed
        Of its weights.
    inputs
        Channels.
    rare
        Added to the background's logit: the session looks again at each patch with a change.
    """
    from dynamic_network_architectures.architectures.unet import ResidualEncoderUNet

    said = {k: v for k, v in ARCHITECTURE["arch_kwargs"].items() if not k.endswith("_op")}
    said |= {"conv_op": torch.nn.Conv3d, "norm_op": torch.nn.InstanceNorm3d}
    said |= {"dropout_op": None, "nonlin": torch.nn.LeakyReLU}
    torch.manual_seed(seed)
    network = ResidualEncoderUNet(inputs, num_classes=2, deep_supervision=False, **said)
    with torch.no_grad():
        for value in network.parameters():
            value.add_(0.05 * torch.randn_like(value))
        network.decoder.seg_layers[-1].bias[0] += rare
    return network.eval()
