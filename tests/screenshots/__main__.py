"""The bot in npm's local-slack, used through headless Chromium as people use it: make screenshots.

First every message and view is held against the types of npm's @slack/types. Those know which fields each block has and
must have; how long a text may be they don't know: tests/ui/test_limits.py does. Then the stories are played, and their
pictures are written to docs/.
"""

import asyncio
import json
import signal
import subprocess
import tempfile
from pathlib import Path

from tests.screenshots import needs
from tests.screenshots.access import SETTINGS, AccessStory
from tests.screenshots.browser import opened
from tests.screenshots.sandbox import sandbox
from tests.screenshots.story import Story, note
from tests.ui.every import every_message, every_view

PICTURES = Path(__file__).parents[2] / "docs"


def _check_types() -> int:
    """Write them as TypeScript, and return how many there are. Raises AssertionError with what does not fit."""
    lines = [
        *(f"export const {name}: KnownBlock[] = {json.dumps(said.blocks)};" for name, said in every_message().items()),
        *(
            f"export const {name}: {str(view.type).title()}View = {json.dumps(view.to_dict())};"
            for name, view in every_view().items()
        ),
    ]
    head = 'import type { HomeView, KnownBlock, ModalView } from "@slack/types";'
    written = needs.MODULES / "every-message.ts"  # there its import is found
    written.write_text("\n".join([head, *lines, ""]), encoding="utf-8")
    options = ("--noEmit", "--strict", "--module", "nodenext", "--types", "", "--pretty", "false")
    compiled = subprocess.run(  # noqa: S603 - words of ours
        [needs.TSC, *options, written], capture_output=True, text=True, timeout=120, check=False
    )
    assert compiled.returncode == 0, compiled.stdout + compiled.stderr
    return len(lines)


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
        sandbox(folder / "sandbox", **settings) as (url, modelslab),
        opened(needs.chromium(), folder / "chromium") as page,
    ):
        await story(page, url, modelslab, PICTURES).play()


needs.install()
note(f"@slack/types: {_check_types()} messages and views")
with tempfile.TemporaryDirectory(prefix="reload-model-screenshots-", ignore_cleanup_errors=True) as name:
    asyncio.run(_main(Path(name)))
note(f"the pictures are in {PICTURES.name}/")
