# Gatecast's images, one a role, each the one before it and a layer more:
#   docker build --target serving  -t gatecast-serving:0.1.0 .   # the service: no torch, no Lightning
#   docker build --target servers  -t gatecast-servers:0.1.0 .   # MLflow's and Prefect's servers
#   docker build --target training -t gatecast:0.1.0 .           # the command line, with torch
# torch is the CPU build unless another is asked for; for a GPU:
#   docker build --target training --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 \
#     -t gatecast:0.1.0-cuda .
# All else is pinned and comes with its hash (requirements.lock): torch has another on every machine.
# Base images are named by an exact tag; put their digests there where your registry can be asked.

FROM python:3.11.14-slim-bookworm AS base
# libgomp is what ONNX Runtime and torch compute with.
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1=12.* \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/gatecast gatecast \
    && install -d -o gatecast -g gatecast /var/lib/gatecast /work \
    && python -m venv /opt/gatecast
ENV PATH=/opt/gatecast/bin:$PATH \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    GATECAST_HOME=/var/lib/gatecast \
    HOME=/var/lib/gatecast
COPY deploy/entrypoint.sh /usr/local/bin/entrypoint
WORKDIR /src
# Hashes beside ranges need a newer pip than the one that Python brings.
RUN pip install "pip==26.3" "packaging==26.3" "setuptools==84.2.1"
COPY pyproject.toml requirements.lock constraints.txt ./
COPY deploy/requirements.py ./deploy/

# What each role needs. A change of the code fetches none of it again.
FROM base AS needs-serving
RUN python deploy/requirements.py serve,mcp,traces --without torch > needs.txt \
    && pip install --require-hashes -c requirements.lock -r needs.txt

FROM needs-serving AS needs-servers
RUN python deploy/requirements.py serve,mcp,postgres,schedule,servers --without torch > needs.txt \
    && pip install --require-hashes -c requirements.lock -r needs.txt

FROM needs-servers AS needs-training
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=all,demo,postgres,schedule,servers,traces,tune
RUN pip install --index-url "$TORCH_INDEX" --extra-index-url https://pypi.org/simple \
    -c constraints.txt "$(grep '^torch==' constraints.txt)"
RUN python deploy/requirements.py "$EXTRAS" --without torch > needs.txt \
    && pip install --require-hashes -c requirements.lock -r needs.txt

# The code, for all roles alike.
FROM base AS code
COPY README.md LICENSE ./
COPY forecasting ./forecasting
COPY pipelines ./pipelines
COPY serving ./serving
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels .

FROM needs-serving AS serving
RUN --mount=type=bind,from=code,source=/wheels,target=/wheels pip install --no-deps /wheels/*.whl
USER 10001:10001
WORKDIR /work
EXPOSE 3000
ENTRYPOINT ["entrypoint"]
CMD ["python", "-m", "serving", "--host=0.0.0.0", "--port=3000"]

FROM needs-servers AS servers
RUN --mount=type=bind,from=code,source=/wheels,target=/wheels pip install --no-deps /wheels/*.whl
COPY deploy/setup.py /opt/gatecast/setup.py
USER 10001:10001
WORKDIR /work
ENTRYPOINT ["entrypoint"]
CMD ["mlflow", "--help"]

FROM needs-training AS training
RUN --mount=type=bind,from=code,source=/wheels,target=/wheels pip install --no-deps /wheels/*.whl
USER 10001:10001
WORKDIR /work
ENTRYPOINT ["entrypoint"]
CMD ["gatecast", "--help"]
