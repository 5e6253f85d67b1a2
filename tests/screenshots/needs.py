"""What the pictures take that this project does not bring: node with npm, a Chromium, and three packages of npm's."""

import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bot.sandbox.wire import read_object

FOLDER = Path(__file__).parent
MODULES = FOLDER / "node_modules"

PACKAGES: Mapping[str, str] = {
    "local-slack-linux-x64": "0.1.8",
    "@slack/types": "3.2.0",
    "typescript": "7.0.2",
}
"""Each with the version that the pictures and the types were tried with."""

_CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_INSTALL_SECONDS = 300


class Missing(Exception):  # noqa: N818 - it says what is missing
    """Something is missing: says what, and the fix."""


@dataclass(frozen=True, slots=True)
class Needs:
    """Where it all is."""

    local_slack: Path
    tsc: Path
    chromium: Path


def found(env: Mapping[str, str] = os.environ, which: Callable[[str], str | None] = shutil.which) -> Needs:
    """Look for everything, and install the packages that are not there yet. Raises Missing, of all at once."""
    faults = []
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        faults.append("Linux on x86-64: local-slack is installed as its build for that → use such a machine")
    faults += [
        f"{name}: not found → install Node.js 20 or newer, which brings it"
        for name in ("node", "npm")
        if which(name) is None
    ]
    chromium = which(env["CHROMIUM"]) if env.get("CHROMIUM") else next(filter(None, map(which, _CHROMIUMS)), None)
    if chromium is None:
        faults.append("Chromium: not found → install chromium, or name one that is there: CHROMIUM=/path/to/it")
    if faults or chromium is None:
        raise Missing("\n".join(faults))
    _install(env)
    return Needs(MODULES / "local-slack-linux-x64" / "bin" / "local-slack", MODULES / ".bin" / "tsc", Path(chromium))


def _install(env: Mapping[str, str]) -> None:
    """Install what is not there in its version, from whatever registry npm is set to."""
    if all(_version(name) == version for name, version in PACKAGES.items()):
        return
    wanted = [f"{name}@{version}" for name, version in PACKAGES.items()]
    options = ("--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(FOLDER))
    npm = subprocess.run(  # noqa: S603 - words of ours
        ["npm", "install", *options, *wanted],  # noqa: S607 - as the shell finds it
        env=dict(env),
        capture_output=True,
        text=True,
        timeout=_INSTALL_SECONDS,
        check=False,
    )
    if npm.returncode:
        raise Missing(f"{', '.join(wanted)}: npm could not install them → fix what it says:\n{npm.stderr.strip()}")


def _version(name: str) -> object:
    try:
        manifest = (MODULES / name / "package.json").read_bytes()
    except OSError:
        return None
    return (read_object(manifest) or {}).get("version")
