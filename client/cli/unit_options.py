"""The options of `units` that make settings of colors; what is left out is left to the server."""

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

if TYPE_CHECKING:
    from whymatch.client import AxisSetting, ColorThresholds, SelectivitySetting

Command: TypeAlias = Callable[..., None]
THRESHOLDS, AXES, PATCHES = "Thresholds of classes", "Color axes", "Colors of patches"


def color_thresholds(
    flat_spread: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="X",
            help="Colors that spread no more are one color; in opponent space.",
            show_default="0.004",
            rich_help_panel=THRESHOLDS,
        ),
    ] = None,
    aligned_share: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            metavar="SHARE",
            help="Least share of the variance along the axis of an aligned filter.",
            show_default="0.8",
            rich_help_panel=THRESHOLDS,
        ),
    ] = None,
    centered_distance: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="X",
            help="A centered axis passes middle gray no farther, in standard deviations along it; others are shifted.",
            show_default="0.1",
            rich_help_panel=THRESHOLDS,
        ),
    ] = None,
    black_white_share: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            metavar="SHARE",
            help="Least share of the variance in intensity of a black-white filter.",
            show_default="0.75",
            rich_help_panel=THRESHOLDS,
        ),
    ] = None,
    name_share: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            metavar="SHARE",
            help="Least share of the pixels that are not gray, for a color name to count.",
            show_default="0.2",
            rich_help_panel=THRESHOLDS,
        ),
    ] = None,
    gray_share: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            metavar="SHARE",
            help="From this share of gray pixels on, gray is the one color.",
            show_default="0.98",
            rich_help_panel=THRESHOLDS,
        ),
    ] = None,
) -> "ColorThresholds":
    """Say where the classes of filters part."""
    from whymatch.client import ColorThresholds

    return ColorThresholds(flat_spread, aligned_share, centered_distance, black_white_share, name_share, gray_share)


def axis_setting(
    min_components: Annotated[
        int | None,
        typer.Option(
            min=1, max=20, metavar="N", help="Fewest Gaussians of a mixture.", show_default="3", rich_help_panel=AXES
        ),
    ] = None,
    max_components: Annotated[
        int | None,
        typer.Option(
            min=1, max=20, metavar="N", help="Most Gaussians of a mixture.", show_default="10", rich_help_panel=AXES
        ),
    ] = None,
    bin_deg: Annotated[
        int | None,
        typer.Option(
            "--bin",
            min=1,
            max=180,
            metavar="DEGREES",
            help="Width of a bin of the histogram, a divisor of 180.",
            show_default="10",
            rich_help_panel=AXES,
        ),
    ] = None,
    min_spread_deg: Annotated[
        float | None,
        typer.Option(
            "--min-spread",
            min=0.01,
            max=180,
            metavar="DEGREES",
            help="Added to the spread of each Gaussian, squared.",
            show_default="2",
            rich_help_panel=AXES,
        ),
    ] = None,
    units_per_component: Annotated[
        int | None,
        typer.Option(
            min=3,
            max=1000,
            metavar="N",
            help="Fewest units for each Gaussian of a mixture.",
            show_default="9",
            rich_help_panel=AXES,
        ),
    ] = None,
) -> "AxisSetting":
    """Say how to look for color axes."""
    from whymatch.client import AxisSetting

    return AxisSetting(min_components, max_components, bin_deg, min_spread_deg, units_per_component=units_per_component)


def selectivity_setting(
    leading: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=20,
            metavar="P",
            help="How many of the largest categories S sums.",
            show_default="3",
            rich_help_panel=PATCHES,
        ),
    ] = None,
    categories: Annotated[
        int | None,
        typer.Option(
            min=1, max=100, metavar="K", help="Categories of k-means.", show_default="20", rich_help_panel=PATCHES
        ),
    ] = None,
    merge_distance: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="X",
            help="Categories whose memberships of names differ by less are one.",
            show_default="0.2",
            rich_help_panel=PATCHES,
        ),
    ] = None,
    colored_share: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            metavar="SHARE",
            help="Patches with no larger share of pixels that are not black, gray or white have no color.",
            show_default="0.01",
            rich_help_panel=PATCHES,
        ),
    ] = None,
    max_pixels: Annotated[
        int | None,
        typer.Option(
            min=100,
            max=1_000_000,
            metavar="N",
            help="Pixels of a unit that are looked at.",
            show_default="20000",
            rich_help_panel=PATCHES,
        ),
    ] = None,
) -> "SelectivitySetting":
    """Say how to measure selectivity for colors."""
    from whymatch.client import SelectivitySetting

    return SelectivitySetting(leading, categories, merge_distance, colored_share, max_pixels)


def with_settings(**settings: Callable[..., Any]) -> Callable[[Command], Command]:
    """Add the options of each of `settings` to a command, and call it with what they make under the same names."""
    options = {name: inspect.signature(make).parameters for name, make in settings.items()}

    def decorated(command: Command) -> Command:
        own = [one for one in inspect.signature(command).parameters.values() if one.name not in settings]

        @functools.wraps(command)
        def run(client: Any, **arguments: Any) -> None:
            made = {
                name: make(**{option: arguments.pop(option) for option in options[name]})
                for name, make in settings.items()
            }
            command(client, **arguments, **made)

        added = [one for parameters in options.values() for one in parameters.values()]
        run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [
                one.replace(kind=inspect.Parameter.KEYWORD_ONLY) if place else one
                for place, one in enumerate(own + added)
            ]
        )
        return run

    return decorated
