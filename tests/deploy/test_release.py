"""What a release is made of: one version, one repository, notes, and an image that says where it comes from."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from bot import __version__

ROOT = Path(__file__).parent.parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REPOSITORY = PROJECT["urls"]["Source"].removeprefix("https://github.com/")
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")

CI, RELEASE = (
    YAML(typ="safe").load(ROOT / ".github" / "workflows" / f"{name}.yml")["jobs"] for name in ("ci", "release")
)
[BUILD] = [step["with"] for step in RELEASE["image"]["steps"] if "build-push-action" in step.get("uses", "")]
[NOTES] = [step["run"] for step in RELEASE["package"]["steps"] if "changelog" in step.get("name", "")]


def text(path: str) -> str:
    """What a file says."""
    return (ROOT / path).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "path",
    [
        "compose.yaml",
        "deploy/compose.postgres.yaml",
        "deploy/kubernetes/deployment.yaml",
        "README.md",
        "docs/operating.md",
    ],
)
def test_the_image_is_named_with_its_version(path: str) -> None:
    """People run, and verify, what this version's tag published."""
    images = re.findall(r"ghcr\.io/[\w./-]+:[\w.-]+", text(path))

    assert images
    assert set(images) == {f"ghcr.io/{REPOSITORY}:{__version__}"}


@pytest.mark.parametrize(
    "path", ["Dockerfile", "deploy/systemd/reload-model.service", "CHANGELOG.md", "docs/operating.md"]
)
def test_every_link_to_this_project_is_to_one_repository(path: str) -> None:
    """A fork changes one name everywhere."""
    linked = set(re.findall(r"https://github\.com/([\w-]+/reload-model)\b", text(path)))

    assert linked == {REPOSITORY}


def notes(folder: Path, tag: str, changelog: str) -> subprocess.CompletedProcess[str]:
    """Run the workflow's own step on a changelog."""
    (folder / "CHANGELOG.md").write_text(changelog, encoding="utf-8")
    return subprocess.run(  # noqa: S603 - the script is the workflow's
        ["bash", "-e", "-c", NOTES],  # noqa: S607 - the runner's shell
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "GITHUB_REF_NAME": tag},
        text=True,
        capture_output=True,
        check=False,
    )


def test_the_notes_are_the_section_of_this_version(tmp_path: Path) -> None:
    """Without the heading, other sections and the links at the end; a tag without notes is not released."""
    done = notes(tmp_path, f"v{__version__}", text("CHANGELOG.md"))
    written = (tmp_path / "notes.md").read_text(encoding="utf-8")

    assert done.returncode == 0
    assert "/reload-model" in written
    assert not re.search(r"^(## |\[.*\]: )", written, re.MULTILINE)
    assert notes(tmp_path, "v9.9.9", text("CHANGELOG.md")).returncode != 0
    notes(
        tmp_path,
        "v1.1.0",
        "# Changelog\n\n## [1.2.0]\n\nnew\n\n## [1.1.0] - 2026-12-01\n\nold\n\n## [1.0.0]\n\noldest\n",
    )
    assert (tmp_path / "notes.md").read_text(encoding="utf-8").split() == ["old"]


def test_ci_tests_every_supported_python() -> None:
    """Those of the classifiers, from the oldest that pip lets in."""
    supported = re.findall(r"Python :: (3\.\d+)$", "\n".join(PROJECT["classifiers"]), re.MULTILINE)

    assert CI["test"]["strategy"]["matrix"]["python"] == supported
    assert PROJECT["requires-python"] == f">={supported[0]}"


def test_the_image_is_of_one_base_that_is_pinned_and_the_wheel_that_is_published() -> None:
    """By digest; every other stage begins with it, or with nothing. A release replaces the one that builds a wheel."""
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    stages = re.findall(r"^FROM \S+ AS (\S+)", DOCKERFILE, re.MULTILINE)
    [outside] = {base for base in bases if base not in {*stages, "scratch"}}

    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+@sha256:[0-9a-f]{64}", outside)
    assert BUILD["build-contexts"] == "wheel=dist"
    assert "FROM scratch AS wheel\n" in DOCKERFILE
    assert re.findall(r"^COPY --from=wheel (.*)", DOCKERFILE, re.MULTILINE) == ["/*.whl ./"]


def test_the_image_says_where_it_comes_from() -> None:
    """https://github.com/opencontainers/image-spec/blob/main/annotations.md. A release gives every value."""
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="\$(\w+)"', DOCKERFILE))
    given = {line.partition("=")[0] for line in BUILD["build-args"].splitlines()}

    assert set(labels) == {"source", "url", "version", "revision", "created"}
    assert set(labels.values()) == set(re.findall(r"^ARG (\w+)", DOCKERFILE, re.MULTILINE)) == given
