# Barometer on one machine, as one image: `barometer up` with Airflow, MLflow and the pages.
FROM python:3.11-slim-bookworm
RUN apt-get update && apt-get install -y --no-install-recommends make && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/barometer
COPY Makefile pyproject.toml requirements.lock requirements-uv.lock README.md LICENSE airflow.cfg pipeline.toml ./
COPY pipeline pipeline
COPY examples examples
COPY dags dags
COPY sql sql
COPY expectations expectations
RUN make .venv/.ready && useradd --create-home barometer && install -d -o barometer /home/barometer/state
USER barometer
ENV PATH=/opt/barometer/.venv/bin:$PATH BAROMETER_CONFIG=/opt/barometer/pipeline.toml BAROMETER_HOME=/home/barometer/state
# Stopping the container ends the services cleanly before the image goes.
CMD ["sh", "-c", "barometer up && trap 'barometer down; exit 0' TERM INT; tail -F \"$BAROMETER_HOME\"/logs/*.log & wait"]
