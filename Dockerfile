# Two stages: the first installs from the hashed lock, the second holds the result and nothing to build with.
# Works with a read-only root, without capabilities; the only place written to is /data.

FROM python:3.13-slim AS build

# Debian keeps one version of a package: a pin would break the build at its next update, and nothing of it is kept.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends binutils \
 && rm -rf /var/lib/apt/lists/*

WORKDIR /build
COPY requirements.txt requirements-build.txt ./
# The image has no use for pip: the packages go into a venv without one.
RUN python -m venv --without-pip /opt/venv \
 && python -m venv /opt/tools \
 && /opt/tools/bin/python -m pip install --quiet --no-cache-dir --require-hashes --only-binary :all: \
      --requirement requirements-build.txt \
 && python -m pip --python /opt/venv/bin/python install --quiet --no-cache-dir --no-compile \
      --require-hashes --only-binary :all: --requirement requirements.txt

COPY pyproject.toml README.md LICENSE ./
COPY bot bot
# Bytecode is compiled here, since a read-only root can never cache it; symbols that nothing reads are stripped.
RUN /opt/tools/bin/python -m pip wheel --quiet --no-deps --no-index --no-build-isolation --wheel-dir /build/dist . \
 && python -m pip --python /opt/venv/bin/python install --quiet --no-deps --no-index --no-compile /build/dist/*.whl \
 && find /opt/venv -name '*.so*' -type f -exec strip --strip-unneeded {} + \
 && /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/venv/lib


FROM python:3.13-slim

# Where it comes from: --build-arg VERSION=... --build-arg REVISION="$(git rev-parse HEAD)"
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="reload-model" \
      org.opencontainers.image.description="Slack slash command that reloads an idle ModelsLab model" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"

# A volume takes its owner from here, a tmpfs its mode.
RUN install --directory --owner=10001 --group=10001 --mode=1777 /data

COPY --from=build /opt/venv /opt/venv

# HOST: in Socket Mode the bot would listen on the container's loopback, where no probe from outside gets through.
ENV PATH=/opt/venv/bin:$PATH \
    HOST=0.0.0.0 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

USER 10001:10001
# The default DATABASE_URL is a file here. It isn't set, so that DATABASE_URL_FILE can be.
WORKDIR /data
VOLUME /data
EXPOSE 3000
STOPSIGNAL SIGTERM

HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 \
  CMD ["reload-model-bot", "health"]

ENTRYPOINT ["reload-model-bot"]
