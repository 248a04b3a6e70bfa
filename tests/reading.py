"""The text that users read on a page."""

import html
import re

from werkzeug.test import TestResponse


def words(page: TestResponse) -> str:
    """The text of the page's content, without its header."""
    content = page.text.partition("<main")[2].partition("</main>")[0]
    content = re.sub(r'<wbr>|<span class="unbroken">([^<]*)</span>', r"\1", content)  # no gaps in an address
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", content)).split())
