"""What a page of the report must not do: refer to anything outside its folder."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from flava.report import html

VOID = {"meta", "link", "input", "img", "br"}


class Page(HTMLParser):
    """Collects what a page refers to and checks that its tags are balanced."""

    def __init__(self, content):
        super().__init__()
        self.refers, self.tags, self.unbalanced, self.open = [], set(), [], []
        self.scripts, self.classes = [], set()
        self.feed(content)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attributes:
            if name == "class" and tag == "table":
                self.classes |= set(value.split())
            if name in ("src", "href", "srcset", "data", "action", "poster", "xlink:href"):
                self.refers.append(value)

    def handle_data(self, data):
        if self.open[-1:] == ["script"]:
            self.scripts.append(data.strip())

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)


def check_offline(path):
    content = path.read_text(encoding="utf-8")
    page = Page(content)
    assert page.unbalanced == [] and page.open == []
    assert set(page.scripts) <= {html.SCRIPT.read_text(encoding="utf-8").strip()}
    assert len(page.scripts) == ("sort" in page.classes) == content.count("<script>")
    assert content.count("<script") == content.count("<script>")  # none is from elsewhere
    outside = [r for r in page.refers if not (r.startswith(("#", "data:")) or "/" not in r)]
    assert outside == []
    assert not re.search(r"url\(\s*['\"]?https?:|@import", content)
    assert not re.search(r"https?://(?!www\.w3\.org/)", content)
    return content
