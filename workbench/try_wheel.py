"""Tries the newest wheel of a folder as a new user has it: a fresh environment, no Node."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import urllib.request
import venv
from pathlib import Path

SCAN = Path("sample_data/phantom_ct.nii.gz").resolve()


def main(folder: str) -> int:
    """Install the wheel, open the sample with it, and fetch the page that it serves."""
    wheel = max(Path(folder).resolve().glob("*.whl"), key=lambda path: path.stat().st_mtime)
    with tempfile.TemporaryDirectory() as room:
        venv.create(Path(room) / "env", with_pip=True)
        programs = Path(room) / "env" / ("Scripts" if os.name == "nt" else "bin")
        wanted = f"sammed[workbench] @ {wheel.as_uri()}"
        subprocess.run([programs / "pip", "install", "--quiet", wanted], check=True)
        path = os.pathsep.join([str(programs)])  # no Node here
        opened = subprocess.Popen(
            [programs / "sammed", "open", SCAN, "--no-browser", "-o", Path(room) / "out.nii.gz"],
            cwd=room,
            env={**os.environ, "PATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            return _look_at(opened)
        finally:
            opened.terminate()
            opened.wait(20)


def _look_at(opened: subprocess.Popen[str]) -> int:
    assert opened.stdout is not None
    told = []
    for line in opened.stdout:
        told.append(line)
        if found := re.search(r"http://127\.0\.0\.1:\d+/", line):
            page = urllib.request.urlopen(found.group()).read().decode()
            script = re.search(r'src="\./(assets/[^"]+\.js)"', page)
            assert script, f"no script in the page: {page}"
            code = urllib.request.urlopen(found.group() + script.group(1)).read()
            print(f"the wheel serves its page: {len(page)} + {len(code)} bytes")
            return 0
    print(f"no address; it said: {''.join(told)}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
