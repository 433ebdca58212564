"""How the help of commands looks."""

from typing import Any

from typer.core import TyperGroup


class Group(TyperGroup):
    """A group of commands, in whose help flags have no type and paragraphs no line breaks of the source."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the options of the group itself."""
        return tidied(super().get_params(ctx))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command of the group, None if there is none of that name."""
        command: Any = super().get_command(ctx, cmd_name)
        if command is not None:
            paragraphs = (command.help or "").split("\n\n")
            command.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
            tidied([*command.params, command.get_help_option(ctx)])
        return command


def tidied(parameters: list[Any]) -> list[Any]:
    """Return `parameters`, whose flags now show no type: there is nothing to write behind them."""
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
    return parameters
