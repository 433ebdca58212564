"""The commands `explain match`, `point`, `label`, `components` and `interactive`; more are added from other files."""

import functools
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from whymatch.client.apps.progress import unit_bar
from whymatch.client.apps.talk import note
from whymatch.client.cli import completion, prediction_difference, rankings, regions
from whymatch.client.cli.connection import with_client
from whymatch.client.cli.generations import AtGeneration, generation_number
from whymatch.client.cli.groups import Group
from whymatch.client.cli.options import (
    BoxShare,
    Filter,
    Json,
    Maps,
    Match,
    OneImage,
    Query,
    content_of,
    either_source,
    named_gallery,
    whole_number,
)
from whymatch.client.cli.origin import say_who_answered

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from whymatch.client import (
        Client,
        ComponentShares,
        LabelExplanation,
        MatchExplanation,
        Region,
        SimilarityMap,
        Stored,
    )


def norm(values: list[float] | None) -> list[float] | None:
    """Require norms of at least 1; NaN passes every `min`."""
    for value in values or ():
        if not value >= 1:
            raise typer.BadParameter(f"{value:g}; take 1 or more, or inf")
    return values


app = typer.Typer(cls=Group, help="Show where and why images match.", no_args_is_help=True)

Channels = Annotated[
    int | None,
    typer.Option(
        min=0, callback=whole_number(32), metavar="N", help="How many leading channels to return.", show_default="10"
    ),
]
Correspondences = Annotated[
    int | None,
    typer.Option(
        min=0, max=1000, metavar="N", help="How many pairs of corresponding cells to return.", show_default="10"
    ),
]


@app.command("match")
@with_client
def explain_match(
    client: "Client",
    context: typer.Context,
    query: Query,
    match: Match,
    query_boxes: regions.QueryBoxes = None,
    match_boxes: regions.MatchBoxes = None,
    channels: Channels = None,
    correspondences: Correspondences = None,
    box_share: BoxShare = None,
    at_generation: AtGeneration = None,
    maps: Maps = None,
    cards: Annotated[
        int,
        typer.Option(
            min=0,
            max=100,
            metavar="N",
            help="Also write a card for each of the N leading channels: what its unit responds to in the gallery "
            "(requires --maps).",
        ),
    ] = 0,
    json: Json = False,
) -> None:
    """Show where the similarity of two images lies, in which channels, and which cells correspond.

    With --gallery both images go through that gallery's head. Without, they go through the head of a stored match's
    gallery, else of a stored query's; two files go through none.
    """
    if cards and not maps:
        raise typer.BadParameter("--cards requires --maps DIR, the folder for them")
    query_regions = regions.boxes(query_boxes, "--query-region")
    match_regions = regions.boxes(match_boxes, "--match-region")
    at = generation_number(client, at_generation)
    ask = functools.partial(
        client.explain_match,
        either_source(query),
        either_source(match),
        query_regions=query_regions,
        match_regions=match_regions,
        correspondence_limit=correspondences,
        box_share=box_share,
        at_generation=at,
        gallery=named_gallery(context),
    )
    explanation = ask(channel_limit=channels, overlays=maps is not None)
    leading = explanation if cards <= len(explanation.channels) else ask(channel_limit=cards)
    draw = functools.partial(leading_cards, client, leading, cards, maps) if cards and maps else None
    parts = {"query_regions": query_regions, "match_regions": match_regions}
    show(client, explanation, query, match, maps, json, **parts, draw_cards=draw)


@app.command("point")
@with_client
def explain_point(
    client: "Client",
    context: typer.Context,
    query: Query,
    match: Match,
    query_point: regions.PointOption = None,
    match_point: regions.PointOption = None,
    channels: Channels = None,
    correspondences: Correspondences = None,
    box_share: BoxShare = None,
    at_generation: AtGeneration = None,
    maps: Maps = None,
    json: Json = False,
) -> None:
    """Show what in one image corresponds to a point of the other.

    With --gallery both images go through that gallery's head. Without, they go through the head of a stored match's
    gallery, else of a stored query's; two files go through none.
    """
    if (query_point is None) == (match_point is None):
        raise typer.BadParameter("give one point: --query-point X,Y or --match-point X,Y")
    query_regions = [regions.point(query_point, "--query-point")] if query_point is not None else []
    match_regions = [regions.point(match_point, "--match-point")] if match_point is not None else []
    at = generation_number(client, at_generation)
    explanation = client.explain_match(
        either_source(query),
        either_source(match),
        query_regions=query_regions,
        match_regions=match_regions,
        channel_limit=channels,
        correspondence_limit=correspondences,
        overlays=maps is not None,
        box_share=box_share,
        at_generation=at,
        gallery=named_gallery(context),
    )
    show(client, explanation, query, match, maps, json, query_regions=query_regions, match_regions=match_regions)


@app.command("label")
@with_client
def explain_label(
    client: "Client",
    queries: Annotated[
        list[str], typer.Argument(metavar="QUERY...", help="Files, or image:NAME for a stored image; one or several.")
    ],
    label: Annotated[
        str, typer.Argument(metavar="LABEL", autocompletion=completion.labels, help="A label of the gallery.")
    ],
    filter: Filter = "",
    at_generation: AtGeneration = None,
    box_share: BoxShare = None,
    maps: Maps = None,
    json: Json = False,
) -> None:
    """Show where in an image its similarity to all other images of a label lies.

    The pictures of several images have one scale, and one sheet. --json prints several as a list.
    """
    from whymatch.client.apps import documents

    sources = [either_source(query) for query in queries]
    drawn = maps is not None and len(sources) == 1  # the server's pictures of several would have a scale each
    at = generation_number(client, at_generation)
    ask = functools.partial(
        client.explain_label,
        label=label,
        overlays=drawn,
        box_share=box_share,
        filter=filter,
        at_generation=at,
    )
    found = [ask(source) for source in sources]
    say_who_answered(client, found[0].provenance)
    files = draw_labels(client, sources, label, found, maps, at) if maps else []
    if json:
        answers = list(zip_longest(queries, found, files))
        several = [
            documents.label_explanation(query, label, one, file) | documents.origin(one.provenance)
            for query, one, file in answers
        ]
        documents.print_document(several if len(several) > 1 else several[0])
        return
    for query, one in zip(queries, found, strict=True):
        which = f"{query}: " if len(queries) > 1 else ""
        print(f"{which}score {one.score:.4f}, the mean over {one.image_count} images labeled {label!r}")
        print(f"{which}query map adds up to {one.query_map.total:.4f}, {frame(one.query_map)}")
    for file in files:
        print(file)


@app.command("components")
@with_client
def explain_components(
    client: "Client",
    pairs: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=10_000,
            metavar="N",
            help="How many pairs of images of one label to sample.",
            show_default="1000",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            callback=whole_number(64),
            metavar="N",
            help="Another seed draws other pairs.",
            show_default="0",
        ),
    ] = None,
    filter: Filter = "",
    at_generation: AtGeneration = None,
    plot: Annotated[
        Path | None, typer.Option(dir_okay=False, metavar="FILE.png", help="Draw the curve into this file.")
    ] = None,
    json: Json = False,
) -> None:
    """Show how few channels carry the similarity of images of one label."""
    from whymatch.client.apps import documents

    if plot and plot.suffix.lower() != ".png":
        raise typer.BadParameter(f"--plot {str(plot)!r}: write the name of a PNG file, for example components.png")
    at = generation_number(client, at_generation)
    shares = client.explain_components(pair_count=pairs, seed=seed, filter=filter, at_generation=at)
    say_who_answered(client, shares.provenance)
    if plot:
        from whymatch.client.draw import components

        components.write_components(shares, plot)
        note(plot)
    if json:
        documents.print_document(documents.component_shares(shares) | documents.origin(shares.provenance))
    else:
        print_components(shares)


@app.command("interactive")
@with_client
def explain_interactive(
    client: "Client",
    image: OneImage,
    layers: Annotated[
        list[str],
        typer.Option("--layer", metavar="LAYER", help="A layer that `whymatch layers` lists; may be given repeatedly."),
    ],
    supervisions: Annotated[
        list[str] | None,
        typer.Option(
            "--supervision",
            metavar="last|next|LAYER",
            help="The layer that supervises: last, the last one before the classifier; next, the one that reads "
            "LAYER; or a later layer by name. May be given repeatedly.",
            show_default="last",
        ),
    ] = None,
    norms: Annotated[
        list[float] | None,
        typer.Option(
            "--norm", metavar="P", help="1 or more, or inf; may be given repeatedly.", show_default="2", callback=norm
        ),
    ] = None,
    size_px: Annotated[
        int | None,
        typer.Option(
            min=32,
            max=1024,
            help="Size of the network's input: about this many pixels squared.",
            show_default="512",
        ),
    ] = None,
    warp: Annotated[bool, typer.Option("--warp", help="Warp the image to a square.")] = False,
    descriptor: Annotated[
        Literal["average", "max"] | None,
        typer.Option(help="Also return the weighted responses, pooled this way (requires --json)."),
    ] = None,
    maps: Maps = None,
    json: Json = False,
) -> None:
    """Show where in an image the neurons of a layer are active, as the layers above weigh them (InterActive).

    All combinations of layers, supervisions and norms are computed.
    """
    from whymatch.client import InterActiveSetting
    from whymatch.client.apps import documents

    if descriptor and not json:
        raise typer.BadParameter("--descriptor requires --json, which prints it")
    settings = [
        InterActiveSetting(layer, supervision, p)
        for layer in layers
        for supervision in supervisions or ["last"]
        for p in norms or [2.0]
    ]
    explanation = client.explain_interactive(
        either_source(image), settings, size_px=size_px, warp=warp, descriptor=descriptor, overlays=maps is not None
    )
    say_who_answered(client, explanation.provenance)
    overlays: list[Path] = []
    if maps:
        from whymatch.client.apps.originals import original
        from whymatch.client.draw import matches

        overlays = matches.write_interactive(explanation, maps, original(client, either_source(image)))
        note(maps / "sheet.png")
    if json:
        found = documents.interactive(image, explanation, overlays)
        documents.print_document(found | documents.origin(explanation.provenance))
        return
    print(f"input {explanation.input_width_px} x {explanation.input_height_px} px")
    for one in explanation.results:
        (rows, columns), setting = one.map.values.shape, one.setting
        row, column = divmod(int(one.map.values.argmax()), columns)
        where = f"most active in row {row}, column {column}" if one.map.values.any() else "active nowhere"
        print(f"{setting.layer}, {setting.supervision}, p = {setting.norm:g}: {rows} x {columns} cells, {where}")
    for overlay in overlays:
        print(overlay)


app.command("ranking")(rankings.explain_ranking)
app.command("rank")(rankings.explain_rank)
app.command("neighbors")(rankings.explain_neighbors)
app.command("prediction-difference")(prediction_difference.explain_prediction_difference)


def show(
    client: "Client",
    explanation: "MatchExplanation",
    query: str,
    match: str,
    folder: Path | None,
    json: bool,
    *,
    query_regions: "list[Region]",
    match_regions: "list[Region]",
    draw_cards: "Callable[[], Mapping[int, Path]] | None" = None,
) -> None:
    """Write the pictures into `folder`, if given, and print why two images match."""
    from whymatch.client.apps import documents

    say_who_answered(client, explanation.provenance)
    regions.say_rest("query", query_regions)
    regions.say_rest("match", match_regions)
    overlays: dict[str, Path] = {}
    if folder:
        from whymatch.client.draw import matches

        overlays = matches.write_explanation(
            explanation, folder, query_regions=query_regions, match_regions=match_regions
        )
        note(folder / "sheet.png")
    cards = draw_cards() if draw_cards else {}
    if json:
        found = documents.explanation(query, match, explanation, overlays, cards)
        documents.print_document(found | documents.origin(explanation.provenance))
        return
    print_explanation(explanation, by_region=bool(query_regions or match_regions))
    for file in [*overlays.values(), *cards.values()]:
        print(file)


def draw_labels(
    client: "Client",
    sources: "list[Path | Stored]",
    label: str,
    found: "list[LabelExplanation]",
    folder: Path,
    at_generation: int | None,
) -> list[Path]:
    """Write the pictures of a label's maps into `folder`, and return those of the maps."""
    from whymatch.client.draw import labels, matches

    if len(found) == 1:
        files = list(matches.write_label(found[0], label, folder).values())
    else:
        contents = [content_of(client, source, at_generation) for source in sources]
        names = [source.name for source in sources]
        files = labels.write_labels([*map(labels.Explained, names, contents, found)], label, folder)
    note(folder / "sheet.png")
    return files


def leading_cards(client: "Client", explanation: "MatchExplanation", count: int, folder: Path) -> dict[int, Path]:
    """Write cards of the units of the leading channels, and return the files by channel."""
    from whymatch.client.apps.unit_cards import fetch_cards
    from whymatch.client.draw.units import write_cards

    shares = {one.channel: str(one) for one in explanation.channels[:count]}
    leading = [(one.channel, one.unit) for one in explanation.channels[:count] if one.unit]
    if not leading:
        note("no cards: the head of the gallery mixes channels, or their layer is weighed")
    written: dict[int, Path] = {}
    for layer in dict.fromkeys(unit[0] for _, unit in leading):
        channels = {unit[1]: channel for channel, unit in leading if unit[0] == layer}
        with unit_bar(layer) as progress:
            cards = list(fetch_cards(client, layer, list(channels), progress=progress))
        drawn = [channels[card.unit.channel] for card in cards]
        notes = [f"channel {channel} adds {shares[channel]} to the score" for channel in drawn]
        written |= zip(drawn, write_cards(cards, folder, notes), strict=True)
    return written


def print_explanation(explanation: "MatchExplanation", *, by_region: bool) -> None:
    """Print the score, the sums of both maps, the leading channels and the corresponding cells."""
    whole = f" of the {explanation.image_score:.4f} of the whole images" if by_region else ""
    print(f"score {explanation.score:.4f}{whole}")
    print(f"query map adds up to {explanation.query_map.total:.4f}, match map to {explanation.match_map.total:.4f}")
    print(f"residual {explanation.residual:.1e}")
    if explanation.channels:
        # Behind a head that mixes channels, or under a layer that is weighed, none is a unit of the network.
        what = "channels" if any(one.unit for one in explanation.channels) else "dimensions"
        print(f"leading {what} " + ", ".join(f"{one.channel}: {one}" for one in explanation.channels))
    if explanation.correspondences:
        print("corresponding cells, each left,top,width,height in pixels:\nrank      score")
    for number, pair in enumerate(explanation.correspondences, start=1):
        query, match = regions.corners(pair.query_box), regions.corners(pair.match_box)
        print(f"{number:4}  {pair.score:9.6f}  query {query}  match {match}")


def print_components(shares: "ComponentShares") -> None:
    """Print the share of the score in 1, 2, 4, ... leading channels, and in the ten that the paper marks."""
    from whymatch.client.results import MARKED_CHANNELS

    print(f"{shares.pair_count} pairs; share of the score in the leading channels: mean, and 10% to 90% of the pairs")
    last = len(shares.mean)
    for count in sorted({MARKED_CHANNELS, last, *(2**power for power in range(32))}):
        if count <= last:
            low, mean, high = (curve[count - 1] for curve in (shares.low, shares.mean, shares.high))
            mark = "  (the dot in figure 3 of the paper)" if count == MARKED_CHANNELS else ""
            print(f"{count:6}  {mean:6.1%}  {low:6.1%} to {high:6.1%}{mark}")


def frame(one: "SimilarityMap") -> str:
    """Describe the best box of a map."""
    if one.best_box is None:
        return "and none of its values is positive"
    return f"{one.share_in(one.best_box):.0%} of its positive values in {regions.corners(one.best_box)}"
