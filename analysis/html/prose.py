"""A docstring or one of the project's sentences as HTML: paragraphs and `code`; everything else is escaped."""

import re

from markupsafe import Markup, escape

_CODE = re.compile(r"`([^`]+)`")


def inline(text: str) -> Markup:
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))


def paragraphs(text: str) -> Markup:
    parts = [part for part in re.split(r"(?:\n[^\S\n]*+){2,}", text.strip()) if part]
    return Markup("").join(Markup("<p>{}</p>").format(inline(" ".join(part.split()))) for part in parts)
