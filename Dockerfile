# Built in one image, run in another that holds neither sources nor a compiler.
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE requirements.lock ./
RUN python -m venv /opt/tusd-py \
 && /opt/tusd-py/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY tusd_py ./tusd_py
COPY workers ./workers
RUN /opt/tusd-py/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.13-slim
COPY --from=build /opt/tusd-py /opt/tusd-py
# The directory belongs to the user before it becomes a volume: a new volume takes owner and mode from here.
RUN useradd --system --uid 10001 --home-dir /data --no-create-home tusd-py \
 && install --directory --owner tusd-py --mode 0750 /data
USER tusd-py
WORKDIR /data
ENV PATH=/opt/tusd-py/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    TUSD_PY_SERVER__HOST=0.0.0.0 \
    TUSD_PY_STORAGE__DATA_DIR=/data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=2)"]
# SIGTERM saves running uploads; give it more than server.shutdown_timeout_seconds.
STOPSIGNAL SIGTERM
CMD ["tusd-py", "serve"]
