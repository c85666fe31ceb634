"""A page of HTML as its parts."""

from html.parser import HTMLParser

VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """A page as assistive tools see it. Fails on elements that are closed out of order."""

    def __init__(self, html: str):
        super().__init__()
        self.open: list[tuple[str, dict]] = []
        self.elements: list[tuple[str, dict]] = []
        self.tables: list[list[list[str]]] = []
        self.captions: list[str] = []
        self.text: list[str] = []
        self.folded: list[str] = []  # what a reader sees only on unfolding
        self.inside: list[list[str]] = []  # the text of each element
        self.around: list[list[str]] = []  # of those that are open
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.inside.append([])
        if tag not in VOID:
            self.open.append((tag, dict(attributes)))
            self.around.append(self.inside[-1])
        if tag in ("dt", "dd"):
            for text in (self.text, *self.around):
                text.append(" ")
        if tag == "table":
            self.tables.append([])
        elif tag == "caption":
            self.captions.append("")
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag
        self.around.pop()

    def handle_data(self, data):
        tags = [tag for tag, _ in self.open]
        if "style" in tags:
            return
        for text in (self.text, *self.around):
            text.append(data)
        if "details" in tags and "summary" not in tags:
            self.folded.append(data)
        if "td" in tags or "th" in tags:
            self.tables[-1][-1][-1] += data
        elif "caption" in tags:
            self.captions[-1] += data

    def words(self) -> str:
        return " ".join("".join(self.text).split())

    def texts(self, name: str, value: str = "") -> list[str]:
        """Text of the elements with this word in this attribute, or with any value of it."""
        return [
            " ".join("".join(text).split())
            for (_, attributes), text in zip(self.elements, self.inside, strict=True)
            if name in attributes and value in ("", *attributes[name].split())
        ]

    def having(self, name: str) -> dict:
        """All attributes of the only element with this attribute."""
        (found,) = (attributes for _, attributes in self.elements if name in attributes)
        return found

    def of(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.elements if name == tag]
