"""The example in docs/worker.md runs as it stands."""

import json
import re
import subprocess
import sys
from pathlib import Path

from sammed.worker.exchange import Exchange
from sammed.worker.service import Service

DOCUMENT = Path(__file__).parents[2] / "docs" / "worker.md"


def test_the_client_in_the_document_runs():
    code = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)[1]
    code += "\nprint(mask['block'], organ.sum(), worker.wait(5))\n"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    block, voxels, ended = re.fullmatch(r"(\[.*\]) (\d+) (\d+)\n", run.stdout).groups()
    _, j0, i0, _, j1, i1 = json.loads(block)
    assert 13 <= j0 < j1 <= 32
    assert 7 <= i0 < i1 <= 22
    assert 900 < int(voxels) < 1300  # the ellipsoid has 1055 voxels
    assert ended == "0"


def test_every_request_and_error_code_is_described(tmp_path):
    text = DOCUMENT.read_text()
    service = Service(Exchange(tmp_path))
    for request in [*service._handlers, "cancel", "ping", "shutdown"]:
        assert f"`{request}`" in text
    service.close()
    sources = Path(__file__).parents[2].joinpath("sammed", "worker").glob("*.py")
    for source in sources:
        for code in re.findall(r'RequestError\(\s*f?"(\w+)"', source.read_text()):
            assert f"`{code}`" in text, code
