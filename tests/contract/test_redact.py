"""What a run keeps of a gateway's configuration."""

import yaml

from contract.redact import redact

CONFIG = """
model_list:
  - model_name: a
    litellm_params: {model: openai/x, api_key: sk-literal, api_base: "http://h/v1", max_tokens: 5}
general_settings: {master_key: os.environ/LITELLM_MASTER_KEY, database_url: "postgres://me:pw@h/db"}
callbacks: {headers: {Authorization: Bearer abc}}
"""


def test_secrets_are_left_out_and_references_kept():
    redacted = redact(CONFIG)
    assert redacted.startswith("# As it was used; values that may be secret are replaced")
    for secret in ("sk-literal", "pw@", "Bearer"):
        assert secret not in redacted
    found = yaml.safe_load(redacted)
    assert found["general_settings"]["master_key"] == "os.environ/LITELLM_MASTER_KEY"
    assert found["model_list"][0]["litellm_params"] == {
        "model": "openai/x", "api_key": "(redacted)", "api_base": "http://h/v1", "max_tokens": 5,
    }  # fmt: skip


def test_what_is_no_yaml_is_left_out():
    assert "secret" not in redact("a: [secret").splitlines()[1]


def test_values_below_a_secrets_name_and_in_a_url_are_left_out_too():
    redacted = redact(
        """
litellm_settings:
  api_keys: [s3cret-1, {deep: s3cret-2}]
  cache_params: {redis_url: "redis://me:s3cret-3@cache:6379/0"}
general_settings: {alert_to_webhook_url: {budget: "https://hooks/s3cret-4"}}
model_list:
  - model_name: a
    litellm_params:
      api_base: https://h/v1?sig=s3cret-5
      extra_headers: {X-Sso: s3cret-6, Cookie: s3cret-7, X-Tenant: os.environ/TENANT}
"""
    )
    assert "s3cret" not in redacted
    found = yaml.safe_load(redacted)
    assert found["litellm_settings"]["cache_params"] == {"redis_url": "redis://(redacted)@cache:6379/0"}
    params = found["model_list"][0]["litellm_params"]
    assert params["api_base"] == "https://h/v1?(redacted)"
    assert params["extra_headers"]["X-Tenant"] == "os.environ/TENANT"
