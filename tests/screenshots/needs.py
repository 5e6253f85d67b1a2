"""What the pictures need that this project does not bring: node with npm, a Chromium, and three packages of npm's."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
MODULES = FOLDER / "node_modules"

PACKAGES = ("local-slack-linux-x64@0.1.8", "@slack/types@3.2.0", "typescript@7.0.2")
"""With the versions that the pictures and the types were tried with."""

_CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass(frozen=True, slots=True)
class Needs:
    """Where it all is."""

    local_slack: Path
    tsc: Path
    chromium: Path


def found() -> Needs:
    """Look for everything, and install the packages that are not there yet. Exits with what is missing, and the fix."""
    names = [os.environ["CHROMIUM"]] if os.environ.get("CHROMIUM") else _CHROMIUMS
    chromium = next(filter(None, map(shutil.which, names)), None)
    if chromium is None:
        sys.exit("Chromium: not found → install chromium, or name one that is there: CHROMIUM=/path/to/it")
    if shutil.which("npm") is None:
        sys.exit("npm: not found → install Node.js 20 or newer, which brings it")
    options = ("--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(FOLDER))
    npm = subprocess.run(  # noqa: S603 - words of ours
        ["npm", "install", *options, *PACKAGES],  # noqa: S607 - as the shell finds it
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if npm.returncode:
        sys.exit(f"{', '.join(PACKAGES)}: npm could not install them → fix what it says:\n{npm.stderr.strip()}")
    return Needs(MODULES / "local-slack-linux-x64" / "bin" / "local-slack", MODULES / ".bin" / "tsc", Path(chromium))
