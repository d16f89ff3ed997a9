# One image with every command of the platform; kube-scheduler comes in its own.
#
#   docker build --tag elastic-vgpu:0.1.0 .
#
# Podman and buildah read it as well. What Python installs is pinned in constraints.txt; name the base by its digest to
# get the same Python again:
#   docker build --build-arg PYTHON=python:3.11-slim@sha256:... .
ARG PYTHON=python:3.11-slim

FROM ${PYTHON} AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY pyproject.toml constraints.txt ./
COPY image/install.sh image/
RUN image/install.sh dependencies /opt/vgpu
COPY . .
RUN image/install.sh platform /opt/vgpu

FROM ${PYTHON}
COPY --from=build /opt/vgpu /opt/vgpu
ENV PATH=/opt/vgpu/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
