"""What the pictures need that this project does not bring: node with npm, a Chromium, and three packages of npm's."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

MODULES = Path(__file__).parent / "node_modules"
LOCAL_SLACK = MODULES / "local-slack-linux-x64" / "bin" / "local-slack"
TSC = MODULES / ".bin" / "tsc"

# With the versions that the pictures and the types were tried with.
_PACKAGES = ("local-slack-linux-x64@0.1.8", "@slack/types@3.2.0", "typescript@7.0.2")
_CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def chromium() -> str:
    """Where it is. Exits if it is nowhere."""
    names = [os.environ["CHROMIUM"]] if os.environ.get("CHROMIUM") else _CHROMIUMS
    found = next(filter(None, map(shutil.which, names)), None)
    return found or sys.exit("Chromium: not found → install it, or name one: CHROMIUM=/path/to/it")


def install() -> None:
    """Install the packages that are not there yet."""
    options = ("--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel", "error")
    subprocess.run(  # noqa: S603 - words of ours
        ["npm", "install", *options, "--prefix", MODULES.parent, *_PACKAGES],  # noqa: S607 - as the shell finds it
        timeout=300,
        check=True,
    )
