# The page. docker-compose.yml runs it beside Neo4j and publishes it on 127.0.0.1 only.
FROM python:3.11-slim

# Another package index, such as one with CPU-only builds of torch: --build-arg PIP_INDEX_URL=... or PIP_EXTRA_INDEX_URL=...
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1

RUN useradd --create-home --uid 1000 viscnn \
    && install --directory --owner=viscnn --group=viscnn /home/viscnn/data

WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY viscnn viscnn
COPY ingest ingest
COPY engine engine
COPY ui ui
COPY cypher cypher
RUN pip install --constraint constraints.txt .

USER viscnn
WORKDIR /home/viscnn
ENV VISCNN_HOME=/home/viscnn/data \
    TORCH_HOME=/home/viscnn/data/torch
EXPOSE 8501
# 0.0.0.0 is inside the container; which machines may reach it is decided where the port is published
CMD ["viscnn", "ui", "--address", "0.0.0.0", "--port", "8501", "--no-browser"]
