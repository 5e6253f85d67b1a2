"""A page in headless Chromium, used as a person uses it: what is there is looked at, pressed and typed into.

It is driven by its own protocol: https://chromedevtools.github.io/devtools-protocol/
"""

import asyncio
import base64
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from bot.sandbox.wire import JsonObject, read_object
from tests.bench.processes import free_port
from tests.scenarios.scenario import eventually_answered
from tests.screenshots.needs import running

WAIT_SECONDS = 15.0

_FLAGS = (
    "--headless",
    "--no-sandbox",  # the page is our own, and a sandbox takes rights that containers do not give
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--hide-scrollbars",
)

# What every script may use.
_FINDING = """
const all = (selector, text) =>
  [...document.querySelectorAll(selector)].filter((element) => element.textContent.includes(text));
const find = (selector, text) => all(selector, text).at(-1);
"""


def found(selector: str, text: str = "") -> str:
    """A script for the last element that a selector matches and that holds a text."""
    return f"find({json.dumps(selector)}, {json.dumps(text)})"


class Page:
    """The one page."""

    def __init__(self, connection: aiohttp.ClientWebSocketResponse) -> None:
        self._connection = connection
        self._ids = itertools.count(1)

    async def call(self, method: str, **parameters: object) -> JsonObject:
        """Call a method of the protocol, and return its result; events are passed over."""
        id_ = next(self._ids)
        await self._connection.send_json({"id": id_, "method": method, "params": parameters})
        async with asyncio.timeout(WAIT_SECONDS):
            while (answer := read_object(await self._connection.receive_str()) or {}).get("id") != id_:
                pass
        result = answer.get("result")
        assert isinstance(result, dict), answer
        return result

    async def run(self, script: str) -> object:
        """The value of a script's last expression."""
        ran = await self.call("Runtime.evaluate", expression=f"{{{_FINDING}{script}}}", returnByValue=True)
        assert "exceptionDetails" not in ran, ran
        result = ran["result"]
        assert isinstance(result, dict)
        return result.get("value")

    async def until(self, script: str, *, within: float = WAIT_SECONDS) -> object:
        """Run a script again and again until its value is true, and return that. Raises AssertionError."""
        try:
            return await eventually_answered(lambda: self.run(script), within=within)
        except TimeoutError:
            shown = await self.run("document.body.innerText")
            raise AssertionError(f"not seen within {within:g} s: {script}\n{shown}") from None

    async def size(self, width: int, height: int) -> None:
        """Be so large, in CSS pixels; a picture has one and a half points for each."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1.5, mobile=False
        )

    async def see(self, selector: str, text: str = "", *, within: float = WAIT_SECONDS) -> str:
        """Wait for an element that holds a text, and return all that it says."""
        return str(await self.until(f"{found(selector, text)}?.textContent", within=within))

    async def see_no(self, selector: str, text: str = "") -> None:
        """Wait until no element holds a text."""
        await self.until(f"!{found(selector, text)}")

    async def picture(self, selector: str, text: str = "") -> bytes:
        """What the last such element looks like, as a PNG."""
        await self.call("Input.dispatchMouseEvent", type="mouseMoved", x=0, y=0)
        left, top, width, height = await self._place(found(selector, text))
        clip: JsonObject = {"x": left, "y": top, "width": width, "height": height, "scale": 1}
        taken = await self.call("Page.captureScreenshot", format="png", clip=clip)
        return base64.b64decode(str(taken["data"]))

    async def _place(self, element: str) -> tuple[float, float, float, float]:
        """Where an element is, once it can be seen: left, top, width, height."""
        script = (
            f"const element = {element}; element?.scrollIntoView({{block: 'nearest'}});"
            "const box = element?.getBoundingClientRect(); box?.width && [box.x, box.y, box.width, box.height]"
        )
        box = await self.until(script)
        assert isinstance(box, list)
        left, top, width, height = (float(str(side)) for side in box)
        return left, top, width, height

    async def press(self, label: str, inside: str = "body", holding: str = "") -> None:
        """Click the last button of that label, inside the last element that holds a text."""
        await self._click(
            f"[...({found(inside, holding)}?.querySelectorAll('button') ?? [])]"
            f".filter((button) => button.textContent.trim() === {json.dumps(label)}).at(-1)"
        )

    async def click(self, selector: str, holding: str = "") -> None:
        """Click the last element that holds a text."""
        await self._click(found(selector, holding))

    async def type(self, selector: str, text: str, *, enter: bool = False) -> None:
        """Click into a field, and type."""
        await self._click(found(selector))
        await self.call("Input.insertText", text=text)
        if enter:
            for kind in ("keyDown", "keyUp"):
                await self.call(
                    "Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", text="\r", windowsVirtualKeyCode=13
                )

    async def _click(self, element: str) -> None:
        left, top, width, height = await self._place(element)
        middle = {"x": left + width / 2, "y": top + height / 2}
        for kind in ("mousePressed", "mouseReleased"):
            await self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **middle)


@asynccontextmanager
async def opened(chromium: str, folder: Path) -> AsyncIterator[Page]:
    """A page, for as long as the context lasts; folder is for what Chromium keeps."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/json"
    options = (*_FLAGS, f"--remote-debugging-port={port}", f"--user-data-dir={folder}")
    async with running(f"{url}/version", chromium, *options), aiohttp.ClientSession() as session:
        async with session.put(f"{url}/new") as answer:
            page = (await answer.json())["webSocketDebuggerUrl"]
        async with session.ws_connect(page, max_msg_size=0) as connection:
            yield Page(connection)
