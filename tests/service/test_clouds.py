"""The settings that each cloud's platform expects of its containers; the configuration wins over them."""

import pytest

from pipeline.errors import ConfigError
from pipeline.service.contracts.platforms import contract_overrides, vertex_paths
from tests.company import company_settings


@pytest.fixture
def configured(company, tmp_path):
    def made(**service):
        changes = {f"SERVICE__{key.upper()}": str(value) for key, value in service.items()}
        return company_settings(company, tmp_path / "home", **changes)

    return made


def overrides(settings, **environ):
    found = contract_overrides(settings, environ).service
    return found.host, found.port, found.auth, found.model_folder


def test_our_own_contract_takes_nothing_from_a_platform(configured):
    settings = configured()
    environ = {"AIP_HTTP_PORT": "1", "AZUREML_MODEL_DIR": "/x", "SAGEMAKER_BIND_TO_PORT": "2"}
    assert contract_overrides(settings, environ) == settings


@pytest.mark.parametrize(
    ("contract", "environ", "expected"),
    [
        ("sagemaker", {}, ("0.0.0.0", 8080, "platform", "/opt/ml/model")),
        ("sagemaker", {"SAGEMAKER_BIND_TO_PORT": "8081"}, ("0.0.0.0", 8081, "platform", "/opt/ml/model")),
        ("vertex", {}, ("0.0.0.0", 8080, "platform", None)),
        ("vertex", {"AIP_HTTP_PORT": "1", "AIP_STORAGE_URI": "gs://b/m"}, ("0.0.0.0", 1, "platform", "gs://b/m")),
        ("azure", {"AZUREML_MODEL_DIR": "/var/models/1"}, ("0.0.0.0", 5001, "platform", "/var/models/1")),
    ],
)
def test_a_platform_sets_port_and_model_in_its_environment(configured, contract, environ, expected):
    assert overrides(configured(contract=contract), **environ) == expected
    assert vertex_paths({}) == ("/health", "/predict")


@pytest.mark.parametrize(
    ("environ", "megabytes", "seconds"),
    [
        ({}, 6, 60),
        ({"SAGEMAKER_BATCH": "True", "SAGEMAKER_MAX_PAYLOAD_IN_MB": "20"}, 20, 600),
        ({"SAGEMAKER_MAX_PAYLOAD_IN_MB": "0"}, 100, 60),
    ],
)
def test_sagemaker_sets_limits(configured, environ, megabytes, seconds):
    found = contract_overrides(configured(contract="sagemaker"), environ).service
    assert (found.body_bytes, found.request_seconds) == (megabytes * 2**20, seconds)


@pytest.mark.parametrize("contract", ["sagemaker", "vertex", "azure"])
def test_the_configuration_wins(configured, contract):
    settings = configured(
        contract=contract, host="127.0.0.1", port=1234, auth="keys", model_folder="/mine", body_bytes=5
    )
    environ = {"AIP_HTTP_PORT": "9000", "AIP_STORAGE_URI": "gs://x", "AZUREML_MODEL_DIR": "/x"}
    assert overrides(settings, **environ) == ("127.0.0.1", 1234, "keys", "/mine")
    assert contract_overrides(settings, environ).service.body_bytes == 5


@pytest.mark.parametrize(
    ("contract", "name", "text"),
    [
        ("vertex", "AIP_HTTP_PORT", "http"),
        ("vertex", "AIP_HTTP_PORT", ""),
        ("vertex", "AIP_HTTP_PORT", "0"),
        ("vertex", "AIP_HTTP_PORT", "65536"),
        ("vertex", "AIP_HTTP_PORT", "٣"),
        ("sagemaker", "SAGEMAKER_BIND_TO_PORT", "-1"),
        ("sagemaker", "SAGEMAKER_MAX_PAYLOAD_IN_MB", "6.5"),
    ],
)
def test_an_impossible_variable_is_named(configured, contract, name, text):
    with pytest.raises(ConfigError, match=name):
        contract_overrides(configured(contract=contract), {name: text})


@pytest.mark.parametrize("path", ["predict", "", "/{x}", "/a b", "/a?b", "/a#b"])
def test_a_route_that_is_no_path_is_refused(path):
    with pytest.raises(ConfigError, match="AIP_PREDICT_ROUTE"):
        vertex_paths({"AIP_PREDICT_ROUTE": path})
