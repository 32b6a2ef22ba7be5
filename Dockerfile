# One file, three images: `api` (no torch), `worker` (torch), `migrate` (one-shot).
#   docker build --target api -t lrtuner-api .
ARG PYTHON_TAG=3.11-slim

FROM python:${PYTHON_TAG} AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app
RUN useradd --system --uid 10001 --home-dir /app --shell /usr/sbin/nologin lrtuner \
 && mkdir -p /data && chown lrtuner:lrtuner /data
ENV LRTUNER_DATA_DIR=/data
COPY constraints.txt ./

FROM base AS api
COPY pyproject.toml README.md LICENSE ./
COPY lrtuner lrtuner
COPY migrations migrations
COPY service service
RUN python -m pip install --constraint constraints.txt '.[service,datasets]'
USER lrtuner
EXPOSE 8470
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=6 \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8470/readyz', timeout=2)"]
CMD ["lrtuner", "api", "--host", "0.0.0.0"]

FROM base AS migrate
COPY pyproject.toml README.md LICENSE ./
COPY lrtuner lrtuner
COPY migrations migrations
RUN python -m pip install --constraint constraints.txt '.[service]'
USER lrtuner
CMD ["lrtuner", "migrate"]

FROM base AS worker
# torch comes in a layer of its own before our code: it is by far the largest, and changes least
RUN python -m pip install --constraint constraints.txt torch
COPY pyproject.toml README.md LICENSE ./
COPY lrtuner lrtuner
COPY migrations migrations
COPY worker worker
RUN python -m pip install --constraint constraints.txt '.[worker,datasets]'
USER lrtuner
CMD ["lrtuner", "worker"]
