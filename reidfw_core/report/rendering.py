"""From a template of this package to one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reidfw_core.report import formatting


def render(template: str, values: Mapping[str, Any]) -> str:
    """Fills a template. Every value is escaped; what is HTML already comes as ``markupsafe.Markup``.

    Args:
        template: name of a file in ``templates``.
        values: what the template shows; a name it does not find raises.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("reidfw_core.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        decimal=formatting.decimal,
        whole=formatting.whole,
        kib=formatting.kibibytes,
        compact=formatting.compact,
        duration=formatting.duration,
        moment=formatting.moment,
        rate_percent=formatting.rate_percent,
        plain=formatting.plain,
        chosen_options=formatting.chosen_options,
    )
    environment.globals.update(
        interval=formatting.interval,
        spread=formatting.spread,
        nothing=formatting.NOTHING,
    )
    return environment.get_template(template).render(values)
