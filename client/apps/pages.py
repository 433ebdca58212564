"""HTML of reports from the templates beside this file; whatever is put into a page is escaped."""

import base64
import functools
import io
from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from whymatch.client.draw.colors import GRADIENTS
from whymatch.client.draw.maps import fitted_down
from whymatch.client.provenance import provenance_json
from whymatch.client.version import __version__


def render(template: str, **values: object) -> Markup:
    """Return a page, or a part of one, from the file `templates/TEMPLATE.html`."""
    return Markup(_environment().get_template(f"{template}.html").render(values))


def page(sections: Sequence[Markup], *, title: str) -> Markup:
    """Return a page of rendered parts."""
    return render("base", sections=sections, title=title)


def picture_url(content: bytes | Image.Image, size_px: int) -> str:
    """Return a picture as the source of an <img>, no larger than `size_px`, as a page of many should have it."""
    file = io.BytesIO()
    fitted_down(content, size_px).save(file, "WEBP", quality=70)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"


def number(value: float | None, form: str) -> str:
    """Write a number in a form of `format`, None as a dash."""
    return "-" if value is None else format(value, form)


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("whymatch.client.apps"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"picture_url": picture_url, "number": number}
    environment.globals |= {"gradients": GRADIENTS, "provenance": provenance_json, "version": __version__}
    return environment
