"""Options of ``sammed segment`` by which other scans explain the one in hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sammed.cli.console import say
from sammed.errors import InputError

if TYPE_CHECKING:
    from sammed.imaging.volume import LabelVolume, Volume
    from sammed.models.protocols import Model
    from sammed.session import Session

Examples = Annotated[
    list[str] | None,
    typer.Option(
        "--example",
        metavar="IMAGE,LABELS[#VALUE]",
        help="A labelled scan that explains this one; no prompt is needed. Repeatable.",
    ),
]
ExamplesFolder = Annotated[
    Path | None,
    typer.Option(
        "--examples",
        help="Folder of examples, of which the most alike are taken: a project, nnU-Net, BIDS, "
        "images with label maps beside them, or a manifest (.json, .csv).",
    ),
]
Mirror = Annotated[
    bool, typer.Option("--mirror", help="Examples of the other side count as well, in a mirror.")
]
Prior = Annotated[
    str | None,
    typer.Option(
        "--prior",
        metavar="IMAGE,LABELS",
        help="An earlier scan of the same person: what became of each of its labels.",
    ),
]
Days = Annotated[
    float, typer.Option("--days", min=0, help="Since --prior, for doubling times; DICOM says it.")
]
Channels = Annotated[
    list[str] | None,
    typer.Option(
        "--channel",
        metavar="NAME=IMAGE[#SERIES]",
        help="Another channel or phase of the same person; each is seen by itself, the answers "
        "are joined. Without IMAGE the first of them is the grid. Repeatable.",
    ),
]
Align = Annotated[
    str,
    typer.Option(
        "--align", help="Channels: auto (moved only with good reason), none, header, rigid, "
        "deformable."
    ),
]  # fmt: skip
PerChannel = Annotated[
    bool, typer.Option("--per-channel", help="Write what each channel shows by itself, too.")
]


@dataclass
class Explained:
    """What other scans there are, and what became of them.

    Attributes
    ----------
    example, examples, mirror, prior, days
        As typed.
    channel, align, per_channel
        As typed.
    aligned
        What was done to each channel.
    """

    example: list[str] | None = None
    examples: Path | None = None
    mirror: bool = False
    prior: str | None = None
    days: float = 0.0
    channel: list[str] | None = None
    align: str = "auto"
    per_channel: bool = False
    aligned: tuple[Any, ...] = ()

    def check(self, image: str) -> None:
        """Refuse what makes no sense together.

        Raises
        ------
        InputError
            With what to leave out.
        BadParameter
            If there is no image.
        """
        if not image and not self.channel:
            raise typer.BadParameter(
                "Missing argument: give an image, or channels (--channel NAME=IMAGE)",
                param_hint="image",
            )
        if self.prior and (self.example or self.examples):
            raise InputError("give --prior or --example, not both: they answer other questions")
        if self.channel and (self.prior or self.example or self.examples):
            raise InputError(
                "channels are segmented from prompts; give --example or --prior with one image"
            )
        if self.per_channel and not self.channel:
            raise InputError("--per-channel needs channels: --channel NAME=IMAGE")
        if self.mirror and not (self.example or self.examples):
            raise InputError("--mirror is about examples: --example or --examples")

    @property
    def names(self) -> bool:
        """Whether objects are found without a prompt, by what other scans show."""
        return bool(self.example or self.examples or self.prior)

    def first_channel(self, image: str, series: str | None) -> tuple[str, str | None]:
        """The image to read, and its series, where it is given as the first channel."""
        if image or not self.channel:
            return image, series
        from sammed.examples.channels import parse_channel

        _, file, own = parse_channel(self.channel[0])
        return file, own or series

    def inputs(self, image: str) -> dict[str, str]:
        """The files that are read, as far as they are named one by one, and what they are."""
        from sammed.examples.channels import parse_channel
        from sammed.examples.library import pair

        pairs = map(pair, (*(self.example or ()), *((self.prior,) if self.prior else ())))
        channels = [parse_channel(text)[1] for text in self.channel or ()]
        files = (str(file) for one in pairs for file in (one.image, one.labels))
        own = {image: "the image itself"} if image else {}
        return dict.fromkeys((*channels, *files), "one of the inputs") | own

    def outputs(self, image: str, outputs: list[Path]) -> dict[str, Path]:
        """Channel → the label map of what it shows by itself: ``name.art.nii.gz``."""
        from sammed.examples.channels import FIRST, parse_channel
        from sammed.io.recognition import stem

        if not self.per_channel or not outputs:
            return {}
        output, plain = outputs[0], stem(outputs[0])
        names = [*((FIRST,) if image else ()), *(parse_channel(c)[0] for c in self.channel or ())]
        return {
            name: output.with_name(output.name.replace(plain, f"{plain}.{name}", 1))
            for name in names
        }

    def joined(self, volume: Volume, image: str, quiet: bool) -> Volume:
        """The volume with its channels, on its grid."""
        if not self.channel:
            return volume
        from sammed.examples.channels import parse_channel, read_channels, with_channels

        texts = self.channel if image else self.channel[1:]
        name = "" if image else parse_channel(self.channel[0])[0]
        _, _, others = read_channels(texts, volume)
        found, told = with_channels(volume, others, name=name, align=self.align)
        self.aligned = tuple(told)
        for one in () if quiet else told:
            say(f"note: channel {one.name}: {one.said}")
        return found

    def model(
        self, build: Callable[[], Model], volume: Volume, objects: list[str] | None,
        labels: dict[str, int], threads: int | None,
    ) -> Model | None:  # fmt: skip
        """What the other scans make of a model; ``None`` where there are none."""
        if not self.names:
            return None
        if self.prior:
            from sammed.examples.followup import PriorModel, days_between
            from sammed.examples.library import pair

            earlier = replace(pair(self.prior), names={v: n for n, v in labels.items()})
            return PriorModel(earlier, build(), self.days or days_between(earlier, volume))
        from sammed.examples.asking import example_model
        from sammed.examples.model import Taking

        given: list[Any] = [*(self.example or ()), *([self.examples] if self.examples else ())]
        taking = Taking(mirror=self.mirror, threads=threads or 0)
        return example_model(given, build(), objects, labels, taking)

    def errors(self, session: Session) -> tuple[str, ...]:
        """What went wrong; that all of a follow-up is gone is a result, and no error."""
        from sammed.api import check_segmented

        if self.prior:
            return tuple(run.error for run in session.runs.values() if run.error)
        return check_segmented(session)

    def say(self, session: Session) -> None:
        """What people want to know of it."""
        account = getattr(session.model, "account", None)
        if account is None:
            self._say_channels(session)
        elif self.prior:
            _say_table(account.table())
        else:
            _say_examples(account)

    def _say_channels(self, session: Session) -> None:
        from sammed.engine.channelwise import agreement

        for name, run in session.runs.items():
            shares = agreement(run.channels)
            if shares is not None:
                counted = ", ".join(f"{n} {view.weight:.2f}" for n, view in run.channels.items())
                say(f"{name}: channels agree by Dice {shares:.2f}; they count {counted}")
                other = [
                    n for n, view in run.channels.items() if not view.error and not view.weight
                ]
                if other:
                    say(f"{name}: {', '.join(other)} means something else and was left out")

    def write_each(
        self, session: Session, labels: LabelVolume, outputs: Mapping[str, Path], force: bool
    ) -> None:
        """Write what each channel shows by itself; ``outputs`` as `outputs` gives them."""
        import numpy as np

        from sammed import io

        for channel, path in outputs.items():
            voxels = np.zeros_like(labels.voxels)
            for obj in session.objects:
                view = session.runs[obj.name].channels.get(channel)
                if view is not None and not view.error:
                    voxels[view.volume.mask_in(labels.shape)] = obj.label
            io.write_labels(replace(labels, voxels=voxels, probabilities={}), path, force=force)
            say(f"wrote {path}")


def follow_up_picture(session: Session, labels: LabelVolume) -> Any:
    """Lesions then and now, side by side; ``None`` where there is no earlier scan."""
    from sammed.examples.followup import PriorModel
    from sammed.reporting.follow_up import draw_follow_up

    if not isinstance(session.model, PriorModel):
        return None
    return draw_follow_up(session.model, session.volume, labels)


def _say_examples(account: Any) -> None:
    for note in account.notes:
        say(f"note: {note}")
    for one in account.examples:
        kept = "kept from before" if one["kept_from_before"] else f"{one['seconds']:.1f} s"
        say(f"example {one['example']}: similarity {one['similarity']:.2f}, {kept}")
    for name, line in account.objects.items():
        if line.get("missing"):
            say(f"{name}: not found: {line['missing']}")
        else:
            agreed = line["agreement"]
            sure = "one example" if agreed is None else f"examples agree by Dice {agreed:.2f}"
            say(f"{name}: {sure}; the model's own look {line.get('model', 'was left out')}")


def _say_table(lines: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        say("  ".join(cells).rstrip())
