# Gatecast in one image: the command line, the service, and the clients of MLflow and Prefect.
# Everything is pinned by constraints.txt, and by its hash in requirements.lock; but torch has another
# on every machine. It is the CPU build; for a GPU:
#   docker build --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 -t gatecast:gpu .

FROM python:3.11.14-slim-bookworm AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=demo,postgres,schedule,traces,tune
WORKDIR /src
RUN python -m venv /opt/gatecast
ENV PATH=/opt/gatecast/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# A change of the code fetches none of this again.
COPY constraints.txt requirements.lock ./
RUN pip install --require-hashes --no-deps -r requirements.lock
RUN pip install --index-url "$TORCH_INDEX" --extra-index-url https://pypi.org/simple \
    -c constraints.txt "$(grep '^torch==' constraints.txt)"
COPY pyproject.toml README.md LICENSE ./
COPY forecasting ./forecasting
COPY pipelines ./pipelines
COPY serving ./serving
RUN pip install -c constraints.txt ".[$EXTRAS]"

FROM python:3.11.14-slim-bookworm
# libgomp is what torch and ONNX Runtime compute with.
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/gatecast gatecast \
    && install -d -o gatecast -g gatecast /var/lib/gatecast /var/lib/mlflow /work
COPY --from=build /opt/gatecast /opt/gatecast
ENV PATH=/opt/gatecast/bin:$PATH \
    GATECAST_HOME=/var/lib/gatecast \
    HOME=/var/lib/gatecast \
    PYTHONUNBUFFERED=1
USER gatecast
WORKDIR /work
ENTRYPOINT []
CMD ["gatecast", "--help"]
