# The first image builds; the second one runs, without sources, build tools or a package installer.
FROM python:3.13-slim AS build
WORKDIR /src
COPY requirements.lock requirements-build.lock ./
# Two environments: one is copied into the final image, the other builds the wheel.
RUN python -m venv --without-pip /opt/tusd-py \
 && python -m pip --python /opt/tusd-py/bin/python install --require-hashes -r requirements.lock
RUN python -m venv /opt/build \
 && /opt/build/bin/pip install --require-hashes -r requirements-build.lock
COPY pyproject.toml README.md LICENSE config.toml ./
COPY tusd_py ./tusd_py
COPY workers ./workers
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
 && python -m pip --python /opt/tusd-py/bin/python install --no-deps dist/*.whl

FROM python:3.13-slim
# tini is process 1: it forwards signals and reaps processes that hooks leave behind.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends tini \
 && rm -rf /var/lib/apt/lists/* \
 && python -m pip uninstall --yes pip
# Create the directory before it becomes a volume: a new volume gets its owner and mode.
RUN useradd --uid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin tusd-py \
 && install --directory --owner tusd-py --group tusd-py --mode 0750 /data
COPY --from=build /opt/tusd-py /opt/tusd-py
USER tusd-py
WORKDIR /data
ENV PATH=/opt/tusd-py/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    TUSD_PY_SERVER__HOST=0.0.0.0 \
    TUSD_PY_STORAGE__DATA_DIR=/data
VOLUME /data
EXPOSE 8080
# It asks the listener that is configured, so it also works with TLS, another port or a unix socket.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["tusd-py", "check", "--live"]
# SIGTERM saves running uploads: wait longer than server.shutdown_timeout_seconds before killing the container.
STOPSIGNAL SIGTERM
ENTRYPOINT ["tini", "--"]
CMD ["tusd-py", "serve"]
