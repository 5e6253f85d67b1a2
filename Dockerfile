# The image holds a virtual environment with the hashed lock and the bot's wheel, and nothing to build with.
# It works with a read-only root and without capabilities; it writes to /data only.
#
#   docker build --tag reload-model .
#
# builds the wheel from this checkout. A release passes the wheel that it publishes: --build-context wheel=dist

# Renovate updates the digest (renovate.json). It is the digest of the index, so it serves amd64 and arm64.
FROM python:3.13.15-slim-trixie@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b AS base


FROM base AS wheel-build
WORKDIR /src
COPY requirements-build.txt ./
RUN python -m pip install --quiet --no-cache-dir --require-hashes --only-binary :all: \
      --requirement requirements-build.txt
COPY pyproject.toml README.md LICENSE ./
COPY bot bot
RUN python -m pip wheel --quiet --no-deps --no-index --no-build-isolation --wheel-dir /dist .


FROM scratch AS wheel
COPY --from=wheel-build /dist/*.whl /


FROM base AS venv
# Debian keeps one version of a package: a pin would break the build at its next update, and nothing of it is kept.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends binutils \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY requirements.txt ./
# The image has no use for pip: the packages go into a venv without one.
RUN python -m venv --without-pip /opt/venv \
 && python -m pip --python /opt/venv/bin/python install --quiet --no-cache-dir --no-compile \
      --require-hashes --only-binary :all: --requirement requirements.txt
COPY --from=wheel /*.whl ./
# Bytecode is compiled here, since a read-only root can never cache it; symbols that nothing reads are stripped.
RUN python -m pip --python /opt/venv/bin/python install --quiet --no-deps --no-index --no-compile ./*.whl \
 && find /opt/venv -name '*.so*' -type f -exec strip --strip-unneeded {} + \
 && /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/venv/lib


FROM base
# A volume takes its owner from here, a tmpfs its mode.
RUN install --directory --owner=10001 --group=10001 --mode=1777 /data

COPY --from=venv /opt/venv /opt/venv

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

# https://github.com/opencontainers/image-spec/blob/main/annotations.md; a release sets all four.
ARG SOURCE=https://github.com/reload-model/reload-model
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="reload-model" \
      org.opencontainers.image.description="Slack bot that reloads an idle ModelsLab model, and pings you when it should be ready" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.source="$SOURCE" \
      org.opencontainers.image.url="$SOURCE" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED"
