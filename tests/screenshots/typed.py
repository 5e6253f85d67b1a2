"""Every message and view of the bot as TypeScript of the types of npm's @slack/types.

Those know which fields each block has and must have. How long a text may be they don't know: tests/ui/test_limits.py
does.
"""

import json
import subprocess

from tests.screenshots.needs import MODULES, TSC
from tests.ui.every import every_message, every_view


def check() -> int:
    """Hold them against the types, and return how many there are. Raises AssertionError with what does not fit."""
    lines = [
        *(f"export const {name}: KnownBlock[] = {json.dumps(said.blocks)};" for name, said in every_message().items()),
        *(
            f"export const {name}: {str(view.type).title()}View = {json.dumps(view.to_dict())};"
            for name, view in every_view().items()
        ),
    ]
    head = 'import type { HomeView, KnownBlock, ModalView } from "@slack/types";'
    written = MODULES / "every-message.ts"  # there its import is found
    written.write_text("\n".join([head, *lines, ""]), encoding="utf-8")
    options = ("--noEmit", "--strict", "--module", "nodenext", "--types", "", "--pretty", "false")
    compiled = subprocess.run(  # noqa: S603 - words of ours
        [TSC, *options, written], capture_output=True, text=True, timeout=120, check=False
    )
    assert compiled.returncode == 0, compiled.stdout + compiled.stderr
    return len(lines)
