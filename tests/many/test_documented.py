"""The script for Slurm on the manual's page runs, with workers here in place of Slurm's jobs."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sammed import io
from tests.phantoms import ROOT
from tests.project.folders import write_scans

pytestmark = [pytest.mark.thorough, pytest.mark.usefixtures("threads")]


@pytest.mark.usefixtures("console")
def test_the_script_for_slurm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    distributed = pytest.importorskip("distributed", reason="pip install 'sammed[cluster]'")
    asked: dict[str, Any] = {}

    class Queue(distributed.LocalCluster):  # type: ignore[misc]
        def __init__(self, **options: Any) -> None:
            asked.update(options)
            super().__init__(n_workers=0, processes=False, protocol="tcp", dashboard_address=None)

        def scale(self, jobs: int) -> None:
            asked.setdefault("jobs", jobs)
            super().scale(min(jobs, 1))  # none when it is closed

    module = ModuleType("dask_jobqueue")
    module.SLURMCluster = Queue  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "dask_jobqueue", module)
    page = (ROOT / "docs" / "many.md").read_text(encoding="utf-8")
    (script,) = [
        block
        for block in re.findall(r"^```text\n(.*?)^```", page, re.M | re.S)
        if "SLURMCluster" in block
    ]
    write_scans(tmp_path, 1)
    (tmp_path / "scans.csv").write_text(
        'image,box\nscans/p0.nii.gz,"ball=10,3,22,17@5"\nscans/none.nii.gz,\n'
    )
    monkeypatch.chdir(tmp_path)
    exec(compile(script, "slurm_batch.py", "exec"), {"__name__": "__main__"})
    assert (asked["jobs"], asked["processes"], asked["cores"]) == (20, 1, 1)
    assert io.read_labels(tmp_path / "out" / "p0.nii.gz").names == {1: "ball"}
    out = capsys.readouterr().out
    assert "none scans.csv, row 2: there is no file scans/none.nii.gz" in out
