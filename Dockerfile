# An image with muster, from the tarball that `./run package` makes:
#   ./run package && docker build -t muster .
#   docker run --rm -v "$PWD/work:/work" muster demo
# LibTorch and Open MPI come with the image: Python's torch (without the packages that only a GPU needs) and Debian's Open MPI.
FROM debian:bookworm-slim

RUN apt-get update -q \
 && apt-get install -y -q --no-install-recommends ca-certificates openmpi-bin openssh-client libgomp1 python3 python3-pip \
 && rm -rf /var/lib/apt/lists/*

# All of NVIDIA's packages, 2.7 GB, come along when asked for: docker build --build-arg GPU=1. LibTorch loads two anyway.
ARG GPU=
RUN if [ -z "$GPU" ]; then wanted="--no-deps nvidia-cuda-cupti==13.0.85 nvidia-cuda-runtime==13.0.96"; fi; \
    python3 -m pip install --break-system-packages --no-cache-dir $wanted torch==2.11.0

ADD dist/muster-*-linux-x86_64.tar.gz /opt/
RUN ln -s /opt/muster-* /opt/muster && ln -s /opt/muster/bin/muster /opt/muster/bin/muster-torch /opt/muster/bin/muster-rank-wrap /usr/local/bin/ \
 && muster --version

# Open MPI refuses to start as root, which a container's user often is.
ENV LC_ALL=C.UTF-8 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
WORKDIR /work
ENTRYPOINT ["muster"]
