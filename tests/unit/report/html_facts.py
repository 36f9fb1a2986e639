"""What a browser would make of a page: ids, references, headings, scripts, tags that are left open."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "link", "br", "img", "input", "hr", "base", "source"}
REFERENCES = {"src", "href", "xlink:href", "srcset", "action", "data", "poster", "background", "formaction"}


class HtmlFacts(HTMLParser):
    """Reads a page.

    Attributes:
        ids: all of them, in order.
        anchors: what links within the page point to.
        references: what would be loaded or opened, without links within the page.
        headings: text of each heading.
        scripts: text of each script.
        text: all that is shown.
        faults: tags that do not nest.
        policy: the content security policy.
        handlers: event attributes.
    """

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.ids: list[str] = []
        self.anchors: list[str] = []
        self.references: list[str] = []
        self.headings: list[str] = []
        self.scripts: list[str] = []
        self.faults: list[str] = []
        self.handlers: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.policy = ""
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        self.faults += [f"open: {tag}" for tag in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if given.get("id"):
            self.ids.append(str(given["id"]))
        for name, value in given.items():
            if name.startswith("on"):
                self.handlers.append(name)
            if name in REFERENCES and value:
                (self.anchors if value.startswith("#") else self.references).append(value.removeprefix("#"))
        if tag == "meta" and given.get("http-equiv") == "Content-Security-Policy":
            self.policy = str(given["content"])
        if tag in {"h1", "h2", "h3"}:
            self.headings.append("")
        if tag == "script":
            self.scripts.append("")
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in {"td", "th"}:
            self.tables[-1][-1].append("")
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1] == tag:
            self._open.pop()
        else:
            self.faults.append(f"</{tag}> in {self._open[-3:]}")

    def handle_data(self, data: str) -> None:
        if "script" in self._open:
            self.scripts[-1] += data
        elif "style" not in self._open:
            self.text += data
        if self._open and any(tag in {"h1", "h2", "h3"} for tag in self._open):
            self.headings[-1] += data
        if "td" in self._open or "tbody" in self._open or "thead" in self._open:
            row = self.tables[-1][-1] if self.tables and self.tables[-1] else None
            if row and ("td" in self._open or "th" in self._open):
                row[-1] += data
