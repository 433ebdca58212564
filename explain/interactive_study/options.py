"""Lists on the command line."""

import typer


def names(text: str) -> list[str]:
    """Read `pool-4,fc-6`."""
    return [name.strip() for name in text.split(",") if name.strip()]


def norms(text: str) -> list[float]:
    """Read `1,2,inf`."""
    try:
        found = sorted({float(number) for number in text.split(",")})
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a list of numbers such as 1,2", param_hint="--norms") from None
    if not all(number >= 1 for number in found):
        raise typer.BadParameter(f"{text!r} has a norm that is not 1 or more, or inf", param_hint="--norms")
    return found
