# One file, three images:
#   api      the HTTP API; no torch
#   migrate  the same layers: brings the database up to date, makes API keys
#   worker   trains; torch is in it. With `ray` among its WORKER_EXTRAS it is every node of a Ray cluster
#
#   docker build --target api -t lrtuner-api .
#   docker build --target worker -t lrtuner-worker \
#     --build-arg TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu .
ARG PYTHON_TAG=3.11-slim

FROM python:${PYTHON_TAG} AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore LRTUNER_DATA_DIR=/data
RUN useradd --system --uid 10001 --home-dir /app --shell /usr/sbin/nologin lrtuner \
 && install --directory --owner lrtuner --group lrtuner /app /data
WORKDIR /build
COPY constraints.txt ./

FROM base AS wheel
COPY pyproject.toml README.md LICENSE ./
COPY lrtuner lrtuner
COPY migrations migrations
COPY service service
COPY worker worker
RUN python -m pip wheel --no-deps --wheel-dir /wheel .

# What an image depends on is installed before our code, from pyproject.toml alone: its layer is made
# again only when that changes.
FROM base AS api
ARG API_EXTRAS=service,datasets
COPY pyproject.toml ./
RUN touch README.md LICENSE \
 && python -m pip install --constraint constraints.txt ".[${API_EXTRAS}]"
COPY --from=wheel /wheel /wheel
RUN python -m pip install --no-deps --force-reinstall /wheel/*.whl
WORKDIR /app
USER lrtuner
EXPOSE 8470
HEALTHCHECK --interval=5s --timeout=3s --start-period=15s --retries=6 \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8470/readyz', timeout=2)"]
CMD ["lrtuner", "api", "--host", "0.0.0.0"]

FROM api AS migrate
HEALTHCHECK NONE
CMD ["lrtuner", "migrate"]

FROM base AS worker
# Which build of torch: the index it is taken from. Empty: the package index as it is configured.
ARG TORCH_INDEX_URL=
RUN python -m pip install --constraint constraints.txt \
      ${TORCH_INDEX_URL:+--index-url "${TORCH_INDEX_URL}"} torch
ARG WORKER_EXTRAS=worker,datasets
COPY pyproject.toml ./
RUN touch README.md LICENSE \
 && python -m pip install --constraint constraints.txt ".[${WORKER_EXTRAS}]"
COPY --from=wheel /wheel /wheel
RUN python -m pip install --no-deps --force-reinstall /wheel/*.whl
ENV LRTUNER_METRICS_PORT=9470 LRTUNER_METRICS_HOST=0.0.0.0
WORKDIR /app
USER lrtuner
EXPOSE 9470
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
  CMD ["python", "-m", "worker.health"]
CMD ["lrtuner", "worker"]
