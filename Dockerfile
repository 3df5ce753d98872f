# A container with the program for one kind of device: DEVICE is cpu, cuda (CUDA 12) or tpu.
#
#   docker build --build-arg=DEVICE=cuda --tag=stackgan-jax:cuda .
#   docker run --gpus=all --volume=runs:/work/runs stackgan-jax:cuda --config=configs/stage1.py

FROM python:3.12-slim AS build
WORKDIR /source
COPY setup.py setup.cfg pyproject.toml README.md LICENSE ./
COPY configs configs
COPY stackgan_jax stackgan_jax
RUN pip wheel --no-cache-dir --no-deps --wheel-dir=/wheel .

FROM python:3.12-slim
ARG DEVICE=cpu
COPY --from=build /wheel /wheel
RUN case "$DEVICE" in \
      cpu) extra='[gcs]' ;; \
      cuda) extra='[gcs,gpu]' ;; \
      tpu) extra='[tpu]' ;; \
      *) echo "DEVICE is '$DEVICE'; choose cpu, cuda or tpu." >&2; exit 1 ;; \
    esac \
    && pip install --no-cache-dir "$(echo /wheel/*.whl)$extra"

# NVIDIA's container runtime reads the first two; GKE puts the driver into the folder of the third.
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    LD_LIBRARY_PATH=/usr/local/nvidia/lib64 \
    PYTHONUNBUFFERED=1

RUN useradd --create-home --uid=1000 stackgan \
    && install --directory --owner=stackgan /work /work/runs
USER 1000
WORKDIR /work
ENTRYPOINT ["stackgan-jax"]
