"""What reports are made of: one page with its pictures inside, maps drawn over them, and their scale."""

import base64
import html
import io
from collections.abc import Sequence
from string import Template

from PIL import Image

from whymatch.client.draw.colors import GRADIENTS
from whymatch.client.draw.maps import fitted_down
from whymatch.client.results import ColorScale

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { --ink: #1c2026; --soft: #5d6672; --line: #dfe3e8; --good: #16794c; --bad: #b3321f; --paper: #f6f7f9; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 40px 24px 80px; }
h1 { font-size: 34px; line-height: 1.2; margin: 0 0 8px; }
h2 { font-size: 23px; margin: 56px 0 8px; }
p { max-width: 72ch; margin: 8px 0; }
.lead { font-size: 19px; color: var(--soft); }
.figure { font-size: 26px; font-weight: 600; margin: 24px 0 8px; }
.card { background: white; border: 1px solid var(--line); border-radius: 10px; padding: 18px; margin: 18px 0; }
.card { overflow-x: auto; }
.card h3 { margin: 0 0 12px; font-size: 17px; }
.row { display: grid; grid-template-columns: 1fr 1fr 1fr 1fr; gap: 16px; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 16px; }
.scale + .row, .scale + .pair { margin-top: 26px; }
.small { display: grid; grid-template-columns: repeat(auto-fill, minmax(230px, 1fr)); gap: 16px; }
figure { margin: 0; }
img { width: 100%; height: 180px; object-fit: contain; background: #eceff3; border-radius: 6px; display: block; }
.pair img { height: 360px; }
.unit { display: grid; grid-template-columns: 310px 100px 1fr; gap: 16px; }
.unit ul { margin: 0; padding-left: 18px; font-size: 14px; }
.patches { display: flex; flex-wrap: wrap; gap: 4px; align-content: flex-start; }
.patches img { width: 96px; height: 96px; }
.small .both { display: grid; grid-template-columns: 1fr 1fr; gap: 6px; }
.small img { height: 110px; }
figure img + img { margin-top: 8px; }
.small figure img + img { margin-top: 0; }
figcaption { font-size: 14px; margin-top: 6px; overflow-wrap: anywhere; }
.soft { color: var(--soft); font-size: 14px; }
.good { color: var(--good); font-weight: 600; }
.bad { color: var(--bad); font-weight: 600; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 18px; font-size: 15px; margin: 16px 0 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
.scale { display: flex; align-items: center; gap: 10px; font-size: 14px; color: var(--soft); margin-top: 12px; }
.bar { width: 180px; height: 12px; border-radius: 3px; }
table { border-collapse: collapse; font-size: 14px; width: 100%; }
th, td { text-align: left; padding: 4px 12px 4px 0; vertical-align: top; }
td b, td code { overflow-wrap: anywhere; }
th { color: var(--soft); font-weight: 400; }
@media (max-width: 800px) { .row { grid-template-columns: 1fr 1fr; } .pair { grid-template-columns: 1fr; } }
</style>
</head>
<body><main>
$sections
</main></body>
</html>
""")


def page(sections: Sequence[str], *, title: str) -> str:
    """Return the whole report."""
    return _PAGE.substitute(title=html.escape(title), sections="\n".join(sections))


def picture(content: bytes | Image.Image, text: str, *, size_px: int = 480) -> str:
    """Return an <img> that holds its own picture, no larger than `size_px`, as a page of many wants it."""
    file = io.BytesIO()
    fitted_down(content, size_px).save(file, "JPEG", quality=70)
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img alt="{html.escape(text)}" src="data:image/jpeg;base64,{data}">'


def scale_bar(scale: ColorScale | None) -> str:
    """State what the colors stand for."""
    if scale is None:
        return ""
    colors = ", ".join(GRADIENTS.get(scale.color_map, ()))
    bar = f'<span class="bar" style="background: linear-gradient(90deg, {colors})"></span>' if colors else ""
    return (
        f'<div class="scale"><span>share of the score in one cell: {scale.low:.4f}</span>{bar}'
        f"<span>{scale.high:.4f} ({html.escape(scale.color_map)})</span></div>"
    )
