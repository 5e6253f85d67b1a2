"""The bot in npm's local-slack, used through headless Chromium as people use it: make screenshots.

First every message and view is held against the types of npm's @slack/types; then the stories are played, and their
pictures are written to docs/.
"""

import asyncio
import signal
import tempfile
from pathlib import Path

from tests.screenshots import needs, typed
from tests.screenshots.access import SETTINGS, AccessStory
from tests.screenshots.browser import opened
from tests.screenshots.sandbox import sandbox
from tests.screenshots.story import Story, note

PICTURES = Path(__file__).parents[2] / "docs"


async def _main(folder: Path) -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)  # so that all that was started ends
    await _play(Story, folder / "reloads")
    await _play(AccessStory, folder / "access", **SETTINGS)


async def _play(story: type[Story], folder: Path, **settings: str) -> None:
    for name in ("sandbox", "chromium"):
        (folder / name).mkdir(parents=True)
    async with (
        asyncio.timeout(400),
        sandbox(folder / "sandbox", **settings) as place,
        opened(needs.chromium(), folder / "chromium") as page,
    ):
        await story(page, place, PICTURES).play()


needs.install()
note(f"@slack/types: {typed.check()} messages and views")
with tempfile.TemporaryDirectory(prefix="reload-model-screenshots-", ignore_cleanup_errors=True) as name:
    asyncio.run(_main(Path(name)))
note(f"the pictures are in {PICTURES.name}/")
