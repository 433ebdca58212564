"""The demo's units: what the leading channels of a score respond to."""

from collections.abc import Sequence

from markupsafe import Markup

from whymatch.client import Client
from whymatch.client.apps.demo.photos import View
from whymatch.client.apps.pages import render
from whymatch.client.apps.unit_cards import fetch_cards
from whymatch.client.draw.unit_words import UnitCard
from whymatch.client.results import ChannelShare

SHOWN = "astronaut, brighter"
CARDS = 3
PATCH_PX = 96
LABELED = 9
"""How many top images to count labels over; a label has five images here."""


def leading_units(client: Client, query: View) -> Markup:
    """Show the units of the channels that lead in the score of `query` and its best match."""
    match = client.search(query.content, limit=1)[0]
    explanation = client.explain_match(query.content, client.content(match.name), channel_limit=CARDS)
    shares = {one.unit: one for one in explanation.channels if one.unit}
    layer = next(iter(shares))[0]
    channels = [channel for _, channel in shares]
    cards = list(fetch_cards(client, layer, channels, label_image_count=LABELED))
    return report(query, match.name, list(shares.values()), cards)


def report(query: View, match: str, shares: Sequence[ChannelShare], cards: Sequence[UnitCard]) -> Markup:
    """Show the cards of the units, with their parts of the score."""
    units = list(zip(shares, cards, strict=True))
    return render("demo_units", query=query, match=match, units=units, size_px=PATCH_PX)
