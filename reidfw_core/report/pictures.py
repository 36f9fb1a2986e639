"""Pictures that stand inside a page instead of beside it."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from reidfw_core.report.summary import FigureSummary

if TYPE_CHECKING:
    from markupsafe import Markup

_MEDIA_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
}

_ACTIVE_ELEMENTS = frozenset({"script", "foreignObject", "iframe", "image", "a", "animate", "set"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture of the page.

    Attributes:
        title: what it shows.
        svg: an SVG element, or None.
        source: a data URI, or None. Where both are None the picture is gone.
        file: where it lay, relative to the run folder.
    """

    title: str
    svg: Markup | None
    source: str | None
    file: str


def load_pictures(run_dir: Path, figures: Sequence[FigureSummary]) -> list[Picture]:
    """Reads pictures of a run: the SVG where there is one, else the raster, else neither.

    Only files inside the run folder are read, and only SVG without scripts, links and foreign content is pasted.

    Args:
        run_dir: the run folder; paths are relative to it, so that a moved folder keeps its pictures.
        figures: as the summary lists them.
    """
    return [
        Picture(
            title=figure.title,
            svg=_inline_svg(run_dir, figure.svg, number),
            source=_data_uri(run_dir, figure.file),
            file=figure.file,
        )
        for number, figure in enumerate(figures, start=1)
    ]


def _inside(run_dir: Path, name: str | None) -> Path | None:
    if name is None:
        return None
    path = (run_dir / name).resolve()
    return path if path.is_relative_to(run_dir.resolve()) and path.is_file() else None


def _inline_svg(run_dir: Path, name: str | None, number: int) -> Markup | None:
    from markupsafe import Markup

    path = _inside(run_dir, name)
    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None  # the raster is shown in its place
    text = re.sub(r"<!--.*?-->", "", text[max(text.find("<svg"), 0) :], flags=re.DOTALL)
    if not _is_harmless(text):
        return None
    prefix = f"p{number}-"  # two steps may show the same file: ids must differ all the same
    text = re.sub(r'(?<=\s)id="', f'id="{prefix}', text)
    text = text.replace("url(#", f"url(#{prefix}").replace('href="#', f'href="#{prefix}')
    return Markup(text)  # noqa: S704 - checked above


def _is_harmless(text: str) -> bool:
    """Whether an SVG file only draws: nothing in it runs, links or loads."""
    if "<!" in text or "<?" in text:  # HTML ends declarations and comments elsewhere than XML does
        return False
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - without declarations there are no entities to expand
    except ElementTree.ParseError:
        return False
    if root.tag.rsplit("}", 1)[-1] != "svg":
        return False
    for element in root.iter():
        if str(element.tag).rsplit("}", 1)[-1] in _ACTIVE_ELEMENTS:
            return False
        for key, value in element.attrib.items():
            name = key.rsplit("}", 1)[-1].lower()
            if name.startswith("on") or (name == "href" and not value.startswith("#")):
                return False
        if _loads(" ".join([*element.attrib.values(), element.text or ""])):
            return False
    return True


def _loads(text: str) -> bool:
    """Whether CSS in ``text`` loads something."""
    return "@import" in text or re.search(r"url\(\s*['\"]?(?!#)", text) is not None


def _data_uri(run_dir: Path, name: str) -> str | None:
    path = _inside(run_dir, name)
    media_type = None if path is None else _MEDIA_TYPES.get(path.suffix.lower())
    if path is None or media_type is None:
        return None
    try:
        content = path.read_bytes()
    except OSError:
        return None  # the page says that the picture is gone
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"
