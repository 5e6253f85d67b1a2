"""`make try`, as a newcomer meets it: on a terminal, from a pipe, and without any input."""

import asyncio
import io
import os
import pty
import re
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from bot.sandbox.terminal import program as terminal
from tests.scenarios.process import PASSED_ON, Process
from tests.scenarios.scenario import eventually


async def test_without_input_a_demo_is_played() -> None:
    """A reload that two wait for, a model that isn't known, and somebody without access."""
    stdout = io.StringIO()
    code = await terminal.sandbox(seconds=0.3, stdin=io.StringIO(), stdout=stdout)
    shown = stdout.getvalue()

    assert code == 0
    assert re.search(r"#models .*@ada `sdxl` should be ready now", shown)
    assert re.search(r"#ops .*@ben `sdxl` should be ready now", shown)
    assert "`midjorney` was not reloaded" in shown
    assert "(only eve sees)" in shown
    assert max(map(len, shown.splitlines())) < 80


async def test_a_pipe_is_read_to_its_end_and_can_be_interrupted(tmp_path: Path) -> None:
    """Undecodable bytes are a line like any other; leaving with a reload running says so."""
    run = Process(tmp_path, {}, "try", "--seconds", "600", measured=True)
    await run.start(b"\xff\nada: /reload-model sdxl\nexit\nnot read")
    await eventually(lambda: "Waiting for the reload of sdxl. Ctrl-C leaves at once." in run.stdout)
    run.signal(signal.SIGINT)

    assert (await run.wait(), run.stderr) == (130, "")
    assert "I don't understand '�'" in run.stdout
    assert "#models  ada: /reload-model sdxl" in run.stdout


PROMPT = "ada #models>"


@pytest.mark.parametrize(("keys", "code"), [("help\r\x04", 0), ("/reload-model sdxl\rwait 999\r\x03", 130)])
async def test_on_a_terminal_lines_are_typed_at_a_prompt(tmp_path: Path, keys: str, code: int) -> None:
    """Until Ctrl-D, or Ctrl-C at any time: that waits for what is running, and the next one leaves at once."""
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    written = bytearray()

    def shown() -> str:
        with suppress(OSError):  # there is nothing to read now, or never again
            while data := os.read(ours, 65536):
                written.extend(data)
        return written.decode(errors="replace")

    env = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", "try", "--seconds", "600"),
        cwd=tmp_path,
        env=env | {"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    try:
        await eventually(lambda: PROMPT in shown())
        os.write(ours, keys[:-1].encode())
        # A key that is typed between two prompts can be lost.
        if code:
            await eventually(lambda: "(only ada sees)" in shown())
            waiting = "Waiting for the reload of sdxl. Ctrl-C leaves at once."
            await eventually(lambda: os.write(ours, keys[-1].encode()) and waiting in shown())
            process.send_signal(signal.SIGINT)
        else:
            await eventually(lambda: PROMPT in shown().partition("ModelsLab knows")[2])
            os.write(ours, keys[-1].encode())

        # It is read until the end: nobody can write to a terminal that is full.
        assert await eventually(lambda: shown() and process.returncode is not None)
        assert process.returncode == code
        assert "Traceback" not in shown()
    finally:
        if process.returncode is None:
            process.kill()
        os.close(ours)
        os.close(theirs)
