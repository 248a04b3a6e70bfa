# One image for all four services; docker-compose.services.yml says which one a container runs.
# Uses only features of the classic builder, so that it also builds without BuildKit.

# By tag, not by digest, so that it builds on amd64 and arm64, and from a local image without a registry. Our own
# dependencies are pinned with hashes in requirements/runtime.txt.
FROM python:3.13-slim AS build
WORKDIR /build
COPY requirements/runtime.txt .
# A virtual environment without pip, because the container installs nothing. Only wheels, so nothing is compiled.
RUN python -m venv --without-pip /venv \
 && pip --python /venv/bin/python install --no-cache-dir --disable-pip-version-check --require-hashes \
        --only-binary :all: -r runtime.txt
WORKDIR /app
COPY gunicorn.conf.py ./
COPY scripts/healthcheck.py scripts/tls.py scripts/nginx.conf scripts/databases.py scripts/
COPY idp idp
COPY relying_party relying_party
COPY pickup_web pickup_web
COPY pickup_dispatch pickup_dispatch
COPY pickup_manager pickup_manager
COPY pickup_learn pickup_learn
COPY docs/tutorial docs/tutorial
COPY docs/labs docs/labs
# chmod, because the checkout may have a strict umask. Compile the bytecode here, because the container's root file
# system is read-only.
RUN chmod -R a+rX . && python -m compileall -q .

FROM python:3.13-slim
# GLIBC_TUNABLES: the memory of a password hash comes in large pages (gunicorn.conf.py).
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    GLIBC_TUNABLES=glibc.malloc.hugetlb=1 \
    HOME=/tmp \
    PICKUP_DATA_DIR=/data
# A new named volume gets the owner of its folder. Only make up TLS=1 or SCALE=2 uses /tls and /ca.
RUN mkdir -m 0700 /data /tls /ca && chown 10001:10001 /data /tls /ca
COPY --from=build /venv /venv
COPY --from=build /app /app
WORKDIR /app
# A number, because Kubernetes and others cannot tell whether a name is root.
USER 10001:10001
VOLUME /data
CMD ["gunicorn", "-c", "gunicorn.conf.py", "idp:create_app()"]
