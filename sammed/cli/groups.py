"""A group of commands of which one, ``run``, is meant where none is named."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup


class RunByDefault(TyperGroup):
    """``sammed evaluate ...`` means ``sammed evaluate run ...`` unless a command is named.

    The help of ``run`` ends with the other commands of the group.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Put ``run`` before arguments that do not begin with a command."""
        if not args or args[0] not in self.commands:
            self.commands["run"].epilog = self._others()
            args = ["run", *(args or ["--help"])]
        return super().parse_args(ctx, args)

    def _others(self) -> str:
        names = [name for name in self.commands if name != "run"]
        width = max(map(len, names))
        lines = [f"{n:{width}}  {self.commands[n].get_short_help_str(90)}" for n in names]
        return "\n\n".join(["Other commands:", "\b\n" + "\n".join(f"  {line}" for line in lines)])
