"""The Location of a redirect."""

import re
from urllib.parse import quote

_HOST = re.compile(r"\A((?:[A-Za-z][A-Za-z0-9+.-]*:)?//(?:[^/?#]*@)?)([^/?#:@]+)")
_KEPT = "%!#$&'()*+,-./:;=?@[]_~" + "".join(map(chr, [*range(0x09), *range(0x0A, 0x20), 0x7F]))
"""What stays as it is: a URL's own characters, escapes, and what no header may carry, which is refused there."""


def location(url: str) -> str:
    """Return a URL as browsers send it: characters it may not hold are escaped as UTF-8, a host is Punycode."""
    if not url.isascii():
        url = _HOST.sub(lambda found: found[1] + _punycode(found[2]), url)
    return quote(url, safe=_KEPT)


def _punycode(host: str) -> str:
    try:
        return host.encode("idna").decode()
    except UnicodeError:  # escaped like the rest; whoever follows it will judge
        return host
