"""A pytest plugin: nothing that the bot writes in a test contains a secret of any scenario.

Scenarios name their secrets, and scan their own logs and files. What goes to stdout and stderr is scanned here, but not
the logs that pytest itself captures: those are the records before the bot's own redaction.
"""

import re
from collections.abc import Generator, Iterable
from pathlib import Path

import pytest

_KNOWN: set[str] = set()


def remember(secrets: Iterable[str]) -> None:
    """From now on no text may contain these."""
    _KNOWN.update(secret for secret in secrets if secret)


def scan(place: str, text: str) -> None:
    """Look for secrets, and for response_urls, which are as good as secrets for half an hour."""
    assert not [secret for secret in _KNOWN if secret in text], f"a secret is in {place}"
    assert not re.search(r"/commands/T\w+/\d+/(?!\[)[\w-]{10}", text), f"a response_url is in {place}"


def scan_folder(folder: Path) -> None:
    """Look for secrets in every file, databases among them: those hold response_urls, which are needed there."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            held = path.read_bytes()
            assert not [secret for secret in _KNOWN if secret.encode() in held], f"a secret is in {path.name}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that has written a secret to stdout or stderr."""
    report = yield
    for title, text in report.sections:
        if "stdout" in title or "stderr" in title:
            try:
                scan(title, text)
            except AssertionError as leak:
                report.outcome, report.longrepr = "failed", str(leak)
    return report
