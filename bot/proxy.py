"""The proxy on the way to a service, as the environment names it. Knows nothing of the services.

aiohttp's own trust_env would find it out anew for every request, in two hops through a thread: a millisecond each.
"""

from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from bot.settings import is_loopback


def proxy_to(url: str) -> str | None:
    """The proxy for a base URL, by HTTPS_PROXY, HTTP_PROXY and NO_PROXY; none on the way to this machine itself."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(host) or proxy_bypass(host):
        return None
    return getproxies().get(parts.scheme)
