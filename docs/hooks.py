"""What the manual takes from elsewhere, so that nothing is written twice.

- Pages that lie beside what they describe (`PAGES`) are pages of the manual too.
- Links that lead out of ``docs/`` lead to the repository; pictures come along.
- ``<!-- commands -->`` becomes the command line's own help, ``<!-- face -->`` a table of the
  names that ``sammed`` itself offers.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from inspect import cleandoc, getdoc
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    "slicer_module/README.md": "slicer.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"""Where a page is written, and its place in the manual."""

PICTURES = {"benchmarks/results/growth.png": "images/growth.png"}
"""Pictures outside ``docs/`` that its pages show."""

ALONE = ("index.md",)
"""Pages that have no others beside them."""

_LINK = re.compile(r"(\]\(|<img src=\")([^)\s#\"]+)((?:#[^)\s\"]*)?[)\"])")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and pictures that lie elsewhere."""
    for source, place in {**PAGES, **PICTURES}.items():
        files.append(File.generated(config, place, content=(ROOT / source).read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links that leave ``docs/`` to where they are meant, and fill in what is generated."""
    place = page.file.src_uri
    written = {made: source for source, made in PAGES.items()}.get(place, f"docs/{place}")

    def lead(link: re.Match[str]) -> str:
        before, target, after = link.groups()
        return before + _target(target, written, place, config.extra["repository"]) + after

    markdown = _LINK.sub(lead, markdown)
    if place in ALONE:
        page.meta["hide"] = ["navigation"]
    if "<!-- commands -->" in markdown:
        markdown = markdown.replace("<!-- commands -->", "\n".join(_commands()))
    if "<!-- face -->" in markdown:
        markdown = markdown.replace("<!-- face -->", "\n".join(_face()))
    return markdown


def _target(target: str, written: str, place: str, repository: str) -> str:
    """Where a link goes in the manual.

    Parameters
    ----------
    target
        As written, relative to the file.
    written
        Path of that file in the repository.
    place
        Path of the page in the manual.
    repository
        Address of the repository.
    """
    if re.match(r"[a-z]+:|/", target):
        return target
    path = posixpath.normpath(posixpath.join(posixpath.dirname(written), target))
    inside = {**PAGES, **PICTURES}.get(path) or (path[5:] if path.startswith("docs/") else None)
    if inside is None:
        kind = "tree" if (ROOT / path).is_dir() else "blob"
        return f"{repository}/{kind}/main/{path}"
    return posixpath.relpath(inside, posixpath.dirname(place) or ".")


# -- the command line --------------------------------------------------------------------------


def _commands() -> Iterator[str]:
    """A section for each command, from what ``--help`` knows."""
    import typer

    from sammed.cli import app

    root = typer.main.get_command(app)
    context = typer.Context(root, info_name="sammed")
    yield from _command(root, context, 0)


def _command(command: Any, context: Any, depth: int) -> Iterator[str]:
    import typer

    if depth:
        yield f"\n{'#' * min(depth + 1, 3)} {context.command_path} {{: #{_anchor(context)} }}\n"
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield from _code([usage])
    yield from _help(command.help or "")
    known = command.get_params(context)
    if depth and known:
        yield "| | |\n|---|---|"
        yield from (_parameter(parameter, context) for parameter in known if not parameter.hidden)
    for name, below in getattr(command, "commands", {}).items():
        yield from _command(below, typer.Context(below, info_name=name, parent=context), depth + 1)


def _anchor(context: Any) -> str:
    return str(context.command_path).replace(" ", "-")


def _help(text: str) -> Iterator[str]:
    """The help's paragraphs; commands in it are blocks of code."""
    lines: list[str] = []
    for paragraph in re.split(r"\n\s*\n", cleandoc(text.replace("\b", ""))):
        words = " ".join(paragraph.split())
        example = re.sub(r"^Examples?:\s*", "", words)
        if example.startswith("sammed "):
            lines += re.split(r"\s+(?=sammed )", example)
            continue
        yield from _code(lines)
        lines = []
        yield f"\n{_plain(words)}\n"
    yield from _code(lines)


def _code(lines: list[str]) -> Iterator[str]:
    if lines:
        yield "\n```text\n" + "\n".join(lines) + "\n```\n"


def _parameter(parameter: Any, context: Any) -> str:
    """A line of the table: what is typed, and what it means."""
    typed, says = parameter.get_help_record(context)
    says, _, more = says.partition("  [")
    for fact in filter(None, more.rstrip("]").split("; ")):
        name, _, value = fact.partition(": ")
        if name != "default":
            says += f" {fact.capitalize()}." if fact == "required" else f" ({fact})"
        elif "default" not in says.lower():
            says += f" Default: `{value}`."
    return f"| `{typed}` | {_plain(says)} |"


def _plain(text: str) -> str:
    """Text of a table's cell, with nothing in it that Markdown would take for its own."""
    parts = re.split(r"(`[^`]*`)", text.replace("|", "\\|"))
    return "".join(p if p.startswith("`") else re.sub(r"([\[\]*_<>])", r"\\\1", p) for p in parts)


# -- the face of the package -------------------------------------------------------------------


def _face() -> Iterator[str]:
    """A line for each public name of ``sammed``, with a link to where it is described."""
    import sammed

    yield "| | |\n|---|---|"
    for name in sorted(sammed.__all__, key=str.lower):
        found = getattr(sammed, name)
        if name.startswith("__") or not hasattr(found, "__qualname__"):
            continue
        first = (getdoc(found) or "").partition("\n")[0]
        yield f"| [`sammed.{name}`][{found.__module__}.{found.__qualname__}] | {first} |"
