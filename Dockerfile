# One image for all three services; docker-compose.yml says which one a container runs.
# Only what the classic builder knows, so that it builds without BuildKit too.

# By tag, not by digest: the same file then builds on amd64, on arm64 and from a local stand-in where no
# registry can be reached. What is ours to pin is pinned: requirements/runtime.txt, with hashes.
FROM python:3.13-slim AS build
WORKDIR /build
COPY requirements/runtime.txt .
# A virtual environment without pip: the running container installs nothing. Only wheels: nothing is compiled.
RUN python -m venv --without-pip /venv \
 && pip --python /venv/bin/python install --no-cache-dir --disable-pip-version-check --require-hashes \
        --only-binary :all: -r runtime.txt
WORKDIR /app
COPY gunicorn.conf.py ./
COPY scripts/healthcheck.py scripts/tls.py scripts/nginx.conf scripts/
COPY idp idp
COPY relying_party relying_party
COPY pickup_web pickup_web
COPY pickup_dispatch pickup_dispatch
COPY pickup_manager pickup_manager
# Readable also when the checkout was made with a tight umask. The root file system is read-only in a
# container, so the bytecode is made here.
RUN chmod -R a+rX . && python -m compileall -q .

FROM python:3.13-slim
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    PICKUP_DATA_DIR=/data
# A new named volume takes over its folder's owner. /tls and /ca are used by make up TLS=1 only.
RUN mkdir -m 0700 /data /tls /ca && chown 10001:10001 /data /tls /ca
COPY --from=build /venv /venv
COPY --from=build /app /app
WORKDIR /app
# A number, because Kubernetes and others can't tell whether a name is root.
USER 10001:10001
VOLUME /data
CMD ["gunicorn", "-c", "gunicorn.conf.py", "idp:create_app()"]
