"""Secrets that somebody plants where the bot finds them are written nowhere; and a scan that would find them.

Every scenario looks for them in its log, its messages and its files when it ends.
"""

import logging
from pathlib import Path

import pytest
import structlog

from bot.sandbox.modelslab import error
from tests.answers import Json
from tests.scenarios.process import Machine
from tests.scenarios.scenario import FAILED, MODELS, Scenario
from tests.secrecy import pytest_runtest_makereport, remember, scan, scan_folder

URL = "https://hooks.slack.com/commands/T0SANDBOX/17/0123456789abcdef"
PASSWORD = "hunter2-of-the-proxy"
ALL = 6
"""Secrets that a planted text holds."""


@pytest.fixture
def planted(scenario: Scenario) -> str:
    """A text that holds every secret that a bot may have, and a response_url."""
    scenario.env["HTTPS_PROXY"] = f"http://bot:{PASSWORD}@127.0.0.1:9"  # nothing in a scenario goes through it
    remember([PASSWORD])
    return " ".join([*scenario.secrets, PASSWORD, URL])


async def test_secrets_that_services_repeat_are_redacted(scenario: Scenario, planted: str) -> None:
    """What ModelsLab says is posted, kept and listed without them. So is a code of Slack's, if it can be one."""
    scenario.modelslab.answer("sdxl", error(400, f"You sent {planted}.", tip=planted))
    await scenario.open()
    await scenario.ask("sdxl")
    told = await scenario.wait_said(FAILED)
    await scenario.wait_done()
    assert told.text.count("[redacted]") >= ALL
    assert str(scenario.sql("SELECT said FROM reload_model_reloads")).count("[redacted]") >= ALL

    for code, times in ((planted, 1), (scenario.slack.signing_secret, None)):
        answer = Json(200, {"ok": False, "error": code})
        scenario.slack.fail("chat.postMessage", answer, channel=MODELS, times=times)
    scenario.slack.fail("response_url", "used_url")
    await scenario.ask("flux")
    await scenario.wait_done(2)
    assert "[redacted]" in str(scenario.log.of("job_failed")) + str(scenario.log.of("channel_unreachable"))
    assert "http_200" in scenario.log.text
    assert URL.encode() not in b"".join(path.read_bytes() for path in scenario.database.parent.iterdir())


async def test_secrets_that_are_logged_are_redacted(scenario: Scenario, planted: str) -> None:
    """By a library, in a record's text and arguments; and by the bot, in an error and in all that is logged with it."""
    scenario.internal_errors = True
    await scenario.open()
    logging.getLogger("some.library").error("sent %r", {"authorization": f"Bearer {planted}"})
    structlog.get_logger().error("crashed", exc_info=KeyError(planted), value=planted, more=[{planted: planted}])

    assert scenario.log.text.count("[redacted]") == 5 * ALL


async def test_secrets_in_the_reason_why_the_bot_cannot_start_are_redacted(planted: str, machine: Machine) -> None:
    """In the last line of the log."""
    process = machine.process(DATABASE_URL=f"sqlite:////nowhere/{planted}/x.db")

    assert (await process.run(), process.stdout) == (1, "")
    assert "DATABASE_URL: can't write" in process.stderr
    assert process.stderr.count("[redacted]") == ALL


def test_a_scan_finds_what_it_should(tmp_path: Path) -> None:
    """Each kind, in text, in files and in what a test prints; a check that could not fail would be none."""
    remember(["a-secret-of-this-test"])
    (tmp_path / "x.db").write_bytes(b"\0a-secret-of-this-test\0")

    with pytest.raises(AssertionError, match="a secret is in the log"):
        scan("the log", "key=a-secret-of-this-test")
    with pytest.raises(AssertionError, match="a response_url is in a message"):
        scan("a message", f"went to {URL}")
    with pytest.raises(AssertionError, match=r"a secret is in x\.db"):
        scan_folder(tmp_path)
    scan("the log", "https://hooks.slack.com/commands/T0SANDBOX/17/[redacted] and [redacted]")
    for part, outcome in (("log", "passed"), ("stderr", "failed")):
        sections = [(f"Captured {part} call", "key=a-secret-of-this-test")]
        report = pytest.TestReport("x", ("x", 0, ""), {}, "passed", None, "call", sections)
        hook = pytest_runtest_makereport()
        next(hook)
        with pytest.raises(StopIteration) as done:
            hook.send(report)

        assert done.value.value is report
        assert report.outcome == outcome
