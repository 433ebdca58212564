"""The demo's units: what the channels respond to that lead in a score."""

import html
from collections.abc import Sequence

from whymatch.client import Client
from whymatch.client.apps.demo.photos import View
from whymatch.client.apps.pages import picture
from whymatch.client.apps.unit_cards import fetch_cards
from whymatch.client.draw.unit_words import UnitCard
from whymatch.client.results import ChannelShare

SHOWN = "astronaut, brighter"
CARDS = 3
PATCH_PX = 96
LABELED = 9
"""Of how many top images labels are counted; a label has five images here."""


def leading_units(client: Client, query: View) -> str:
    """Show the units of the channels that lead in the score of `query` and its best match."""
    match = client.search(query.content, limit=1)[0]
    explanation = client.explain_match(query.content, client.content(match.name), channel_limit=CARDS)
    shares = {one.unit: one for one in explanation.channels if one.unit}
    layer = next(iter(shares))[0]
    channels = [channel for _, channel in shares]
    cards = list(fetch_cards(client, layer, channels, label_image_count=LABELED))
    return report(query, match.name, list(shares.values()), cards)


def report(query: View, match: str, shares: Sequence[ChannelShare], cards: Sequence[UnitCard]) -> str:
    """Show the cards of the units, with their parts of the score."""
    figures = "".join(_card(share, card) for share, card in zip(shares, cards, strict=True))
    return f"""
<h2>Units: what leads in a score responds to</h2>
<p>The score of {html.escape(query.name)} and its best match, {html.escape(match)}, is a sum over the channels of the
network, too. Below are the {len(cards)} that add most to it: the parts of the gallery's images to which each responds
most, what it looks for, decoded from the weights alone, and how selective it is for colors. <code>whymatch units</code>
says this, and more, of any unit.</p>{figures}"""


def _card(share: ChannelShare, card: UnitCard) -> str:
    patches = "".join(picture(top.patch(), top.name, size_px=PATCH_PX) for top in card.unit.top_images)
    decoded = picture(card.filter.picture(), "decoded filter", size_px=PATCH_PX) if card.filter else ""
    words = "".join(f"<li>{html.escape(line)}</li>" for line in card.lines()[: -len(card.unit.top_images)])
    return f"""<div class="card"><h3>{html.escape(card.unit.layer)} / {card.unit.channel}: {share} of the score</h3>
<div class="unit"><div class="patches">{patches}</div><div class="patches">{decoded}</div><ul>{words}</ul></div>
</div>"""
