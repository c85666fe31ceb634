"""A hook of mkdocs: links that lead out of docs/ become links to the repository's files.

Pages are read on a code host too, where `../README.md` is a file beside the page. The built site
has no such file, so it shows the path as code instead.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

_LINK = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+[^)\s]+)\)")


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Replace links that leave docs/."""
    folder = PurePosixPath(page.file.src_uri).parent

    def shown(link: re.Match[str]) -> str:
        text, target = link.groups()
        parts: list[str] = []
        for part in (folder / target.partition("#")[0]).parts:
            if part == ".." and parts and parts[-1] != "..":
                parts.pop()
            else:
                parts.append(part)
        if parts[0] != "..":
            return link.group()  # stays within docs/
        path = "/".join(parts[1:])
        return f"{text} (`{path}`)" if path not in text else f"`{path}`"

    return _LINK.sub(shown, markdown)
