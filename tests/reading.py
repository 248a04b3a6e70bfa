"""What a person reads on a page."""

import html
import re

from werkzeug.test import TestResponse


def words(page: TestResponse) -> str:
    """The text of the page's content, without its header."""
    content = page.text.partition("<main")[2]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", content)).split())
