"""The bot in npm's local-slack, used through headless Chromium as people use it: make screenshots.

First every message and view is held against the types of npm's @slack/types; then the stories are played, and their
pictures are written to docs/.
"""

import asyncio
import signal
import tempfile
from pathlib import Path

from tests.screenshots import typed
from tests.screenshots.access import SETTINGS, AccessStory
from tests.screenshots.browser import opened
from tests.screenshots.needs import Needs, found
from tests.screenshots.sandbox import sandbox
from tests.screenshots.story import Story, note

PICTURES = Path(__file__).parents[2] / "docs"


async def _main(needs: Needs, folder: Path) -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)  # so that all that was started ends
    await _play(Story, needs, folder / "reloads")
    await _play(AccessStory, needs, folder / "access", **SETTINGS)


async def _play(story: type[Story], needs: Needs, folder: Path, **settings: str) -> None:
    for name in ("sandbox", "chromium"):
        (folder / name).mkdir(parents=True)
    async with (
        asyncio.timeout(400),
        sandbox(needs.local_slack, folder / "sandbox", **settings) as place,
        opened(needs.chromium, folder / "chromium") as page,
    ):
        await story(page, place, PICTURES).play()


def main() -> None:
    """Check the types, play the stories."""
    needs = found()
    note(f"@slack/types: {typed.check(needs.tsc)} messages and views")
    with tempfile.TemporaryDirectory(prefix="reload-model-screenshots-", ignore_cleanup_errors=True) as folder:
        asyncio.run(_main(needs, Path(folder)))
    note(f"the pictures are in {PICTURES.name}/")


if __name__ == "__main__":
    main()
