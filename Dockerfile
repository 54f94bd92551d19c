# Two images. `docker build .` makes Barometer for one machine: Airflow, MLflow and the service.
# `docker build --target service .` makes the service alone, for a cloud or an application; see docs/serving.md.

FROM python:3.11-slim-bookworm AS service-packages
# The compiler is for the scoring kernel; the images themselves have none.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY requirements-uv.lock requirements-service.lock ./
RUN python -m venv /opt/uv && python -m venv --without-pip /opt/barometer/.venv \
 && /opt/uv/bin/pip install --quiet --no-cache-dir --disable-pip-version-check --require-hashes -r requirements-uv.lock \
 && /opt/uv/bin/uv pip install --quiet --no-cache --python /opt/barometer/.venv/bin/python --require-hashes \
    --compile-bytecode -r requirements-service.lock
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY pipeline pipeline
COPY examples examples
COPY sql sql
# requirements.lock pins the build backend.
RUN /opt/uv/bin/uv pip install --quiet --no-cache --python /opt/barometer/.venv/bin/python --no-deps --compile-bytecode \
    --build-constraints requirements.lock .

FROM python:3.11-slim-bookworm AS service
COPY --from=service-packages /opt/barometer/.venv /opt/barometer/.venv
COPY pipeline.toml /opt/barometer/
RUN useradd --create-home barometer && install -d -o barometer /home/barometer/state
USER barometer
WORKDIR /home/barometer
ENV PATH=/opt/barometer/.venv/bin:$PATH BAROMETER_CONFIG=/opt/barometer/pipeline.toml BAROMETER_HOME=/home/barometer/state
# The contract (BAROMETER__SERVICE__CONTRACT) sets the port: 8080 for SageMaker and Vertex AI, 5001 for Azure ML. To
# reach our own contract from outside, set BAROMETER__SERVICE__HOST=0.0.0.0, __PORT=8080 and __AUTH=keys.
EXPOSE 8080
# SageMaker starts a container with the single argument `serve`.
ENTRYPOINT ["barometer"]
CMD ["serve"]

FROM python:3.11-slim-bookworm AS barometer
RUN apt-get update && apt-get install -y --no-install-recommends make && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/barometer
COPY Makefile pyproject.toml requirements.lock requirements-uv.lock README.md LICENSE airflow.cfg pipeline.toml ./
COPY pipeline pipeline
COPY examples examples
COPY dags dags
COPY sql sql
COPY expectations expectations
COPY --from=service-packages /opt/barometer/.venv/lib/python3.11/site-packages/pipeline/models/scoring/libkernel.so \
     pipeline/models/scoring/
RUN make .venv/.ready && useradd --create-home barometer && install -d -o barometer /home/barometer/state
USER barometer
ENV PATH=/opt/barometer/.venv/bin:$PATH BAROMETER_CONFIG=/opt/barometer/pipeline.toml BAROMETER_HOME=/home/barometer/state
# When the container is stopped, the services end cleanly first.
CMD ["sh", "-c", "barometer up && trap 'barometer down; exit 0' TERM INT; tail -F \"$BAROMETER_HOME\"/logs/*.log & wait"]
