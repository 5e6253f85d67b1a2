"""/healthz, /readyz and /metrics, as routes of an aiohttp app."""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST


def add_health(app: web.Application, path: str, health: Callable[[], Awaitable[Mapping[str, str]]]) -> None:
    """Serve the state of each part, "ok" or what is wrong with it: 200 if each is "ok", otherwise 503."""

    async def handle(_request: web.Request) -> web.Response:
        parts = await health()
        ok = all(state == "ok" for state in parts.values())
        status = HTTPStatus.OK if ok else HTTPStatus.SERVICE_UNAVAILABLE
        return web.json_response({"status": "ok" if ok else "unavailable", **parts}, status=status)

    app.router.add_get(path, handle)


def add_metrics(app: web.Application, path: str, scrape: Callable[[], Awaitable[bytes]]) -> None:
    """Serve the metrics, as Prometheus reads them."""

    async def handle(_request: web.Request) -> web.Response:
        return web.Response(body=await scrape(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app.router.add_get(path, handle)
