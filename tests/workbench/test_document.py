"""What the page may ask, and what it is told when it may not, stands in the manual."""

from __future__ import annotations

import re

from tests.phantoms import ROOT

MANUAL = [ROOT / "docs" / "workbench.md", ROOT / "docs" / "worker.md"]


def test_every_request_and_error_code_is_described(page):
    text = "\n".join(path.read_text() for path in MANUAL)
    for request in page.hello()["requests"]:
        assert f"`{request}`" in text, request
    for source in (ROOT / "sammed" / "workbench").glob("*.py"):
        for code in re.findall(r'RequestError\(\s*f?"(\w+)"', source.read_text()):
            assert f"`{code}`" in text, code


def test_every_module_stands_behind_the_guard():
    """Nothing but the guard's application is given to the server."""
    source = (ROOT / "sammed" / "workbench" / "app.py").read_text()
    assert "self.app = Guard(Starlette(routes=routes), token)" in source
