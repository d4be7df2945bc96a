"""What a run keeps of a gateway's configuration."""

from pathlib import Path

import pytest
import yaml

from contract import strict
from contract.redact import redact

ROOT = Path(__file__).parents[2]
WORD = "hunter2correct"  # a password that has no look
RANDOM = "q8Zr5TnY2vKc7LwX1mPd4JsB"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N"
AWS = "AKIAIOSFODNN7EXAMPLE"
HEX = "9f86d081884c7d659a2feaa0c55ad015"

PLANTED = f"""
model_list:
  - model_name: gpt
    litellm_params:
      model: openai/gpt-4o
      api_key: {WORD}
      api_base: https://me:{WORD}@h.example:8443/v1?sig={WORD}&k=1#{WORD}
      aws_access_key_id: {AWS}
      aws_secret_access_key: {WORD}
      vertex_credentials: '{{"private_key": "-----BEGIN PRIVATE KEY-----\\n{WORD}\\n-----END PRIVATE KEY-----"}}'
      azure_ad_token: {JWT}
      client_secret: {WORD}
      azure_password: 48151623
      extra_headers: {{X-Sso: {WORD}, Cookie: "s={WORD}", Number: 48151623}}
      default_headers: [{WORD}]
      organization: {WORD}
      headers: {{Authorization: Bearer {WORD}}}
      mock_response: {WORD}
  - model_name: sk-{RANDOM}
    litellm_params: {{model: "openai/{RANDOM}", api_base: "https://hooks.slack.com/services/T000/B000/{RANDOM}"}}
  - model_name: {HEX}
    litellm_params: {{model: "a", api_base: "https://h/{RANDOM}/v1"}}
  - model_name: "Bearer {RANDOM}"
    litellm_params: {{model: "{AWS}", api_base: "no url {WORD}"}}
  - model_name: b
    litellm_params: {{model: {JWT}, api_base: "https://h/v1?key={WORD}", tags: ["password={WORD}"]}}
litellm_settings:
  api_keys: [{WORD}, {{deep: {WORD}, deeper: [{WORD}]}}]
  cache_params: {{type: redis, host: cache, password: {WORD}, redis_url: "rediss://me:{WORD}@cache:6379/0"}}
  success_callback: ["langfuse", "https://{HEX}@o1.ingest.sentry.io/5", "Basic bWU6aHVudGVyMmNvcnJlY3Q="]
  sentry_dsn: https://{HEX}@o1.ingest.sentry.io/5
  callback_settings: {{otel: {{exporter: otlp, headers: "x-honeycomb-team={WORD}"}}}}
  some_plugin: {{url: "https://example/{WORD}", user: {WORD}, options: [{WORD}]}}
router_settings:
  redis_password: {WORD}
  fallbacks: [{{gpt: [{JWT}]}}, {{"sk-{RANDOM}": [gpt]}}]
general_settings:
  master_key: {WORD}
  database_url: postgresql://me:{WORD}@db:5432/litellm
  alert_to_webhook_url: {{budget: "https://discord.com/api/webhooks/1/{WORD}"}}
  alerting: ["slack", "https://hooks.slack.com/services/T000/B000/{WORD}"]
  pass_through_endpoints: [{{path: /x, target: "https://x/{WORD}", headers: {{Authorization: "bearer {WORD}"}}}}]
environment_variables:
  OPENAI_API_KEY: {WORD}
  HARMLESS: {WORD}
  PORT: 48151623
"""
SECRETS = (
    WORD, RANDOM, JWT, AWS, HEX, "48151623", "bWU6aHVudGVyMmNvcnJlY3Q", "PRIVATE KEY",
)  # fmt: skip


@pytest.mark.parametrize("secret", SECRETS)
def test_no_planted_secret_is_kept(secret):
    assert secret in PLANTED
    assert secret not in redact(PLANTED)


def places(value: object, place: str = "") -> dict[str, object]:
    """`router_settings.fallbacks[0]` → the scalar there."""
    if isinstance(value, dict):
        return {k: v for name, inner in value.items() for k, v in places(inner, f"{place}.{name}").items()}
    if isinstance(value, list):
        return {k: v for i, inner in enumerate(value) for k, v in places(inner, f"{place}[{i}]").items()}
    return {place: value}


def test_what_is_redacted_leaves_its_place_and_its_type():
    was, now = places(yaml.safe_load(PLANTED)), places(yaml.safe_load(redact(PLANTED)))
    assert len(was) == len(now)
    found = yaml.safe_load(redact(PLANTED))
    params = found["model_list"][0]["litellm_params"]
    assert params["api_key"] == "(redacted text)"
    assert params["azure_password"] == "(redacted number)"
    assert params["extra_headers"] == {"X-Sso": "(redacted text)", "Cookie": "(redacted text)", "Number": "(redacted number)"}  # fmt: skip
    assert params["api_base"] == "https://(redacted)@h.example:8443/v1?(redacted)#(redacted)"
    assert found["environment_variables"] == {
        "OPENAI_API_KEY": "(redacted text)", "HARMLESS": "(redacted text)", "PORT": "(redacted number)",
    }  # fmt: skip
    assert found["litellm_settings"]["cache_params"]["redis_url"] == "rediss://(redacted)@cache:6379/0"
    assert found["router_settings"]["fallbacks"][1] == {"(redacted name 1)": ["gpt"]}


READABLE = """
model_list:
- model_name: vllm-qwen
  litellm_params:
    model: openai/Qwen/Qwen2.5-7B-Instruct-AWQ
    api_base: http://10.0.0.1:8000/v1
    api_key: os.environ/VLLM_KEY
    timeout: 3
    max_tokens: 4096
    input_cost_per_token: 1.0e-06
    rpm: 100
    weight: 2
    order: 1
    drop_params: true
    extra_headers:
      X-Tenant: os.environ/TENANT
  model_info:
    mode: chat
    base_model: gpt-4o-mini-2024-07-18
    supports_vision: false
- model_name: claude
  litellm_params:
    model: bedrock/us.anthropic.claude-3-5-sonnet-20241022-v2:0
    aws_region_name: eu-central-1
    api_base: https://azure.example/openai/deployments/gpt-4o
- model_name: deepseek
  litellm_params:
    model: hosted_vllm/deepseek-ai/DeepSeek-R1-Distill-Qwen-32B-GPTQ-Int4
    api_base: http://[fd00::1]:8080
litellm_settings:
  request_timeout: 120
  callbacks:
  - prometheus
  telemetry: false
  cache: true
  cache_params:
    type: redis
    host: cache.internal
    port: 6379
    ttl: 600
router_settings:
  routing_strategy: simple-shuffle
  fallbacks:
  - vllm-qwen:
    - claude
  - claude:
    - deepseek
  model_group_alias:
    gpt-4: vllm-qwen
    hidden:
      model: claude
      hidden: true
  retry_policy:
    TimeoutErrorRetries: 2
  allowed_fails: 1
  cooldown_time: 30
  num_retries: 0
  redis_host: null
general_settings:
  master_key: ${LITELLM_MASTER_KEY}
  health_check_interval: 300
  alerting:
  - slack
"""


def test_what_an_operator_needs_stays_readable():
    assert yaml.safe_load(redact(READABLE)) == yaml.safe_load(READABLE)


@pytest.mark.parametrize("path", sorted((ROOT / "topologies").glob("litellm*.yaml")), ids=lambda p: p.name)
def test_of_our_own_configurations_only_keys_and_headers_are_redacted(path):
    was, now = places(strict.read_yaml(path)), places(yaml.safe_load(redact(path.read_text())))
    changed = {place.rpartition(".")[2] for place, value in was.items() if now[place] != value}
    assert changed <= {"api_key", "Connection"}


@pytest.mark.parametrize(
    "text", ["a: [secret", "a: &a [*a]", "a: 1\na: secret", "\0", "!!python/object:x.y secret"]
)
def test_what_cannot_be_read_is_left_out(text):
    assert redact(text).splitlines()[1] == "# It cannot be read as YAML, so it is left out."
    assert "secret" not in redact(text).splitlines()[1]


@pytest.mark.parametrize("text", ["secret", "[secret, 5]", "5", "null", "", "2024-01-01", "!!binary c2VjcmV0", "{? 5 : secret}", "!!set {a, b}"])  # fmt: skip
def test_any_yaml_is_redacted(text):
    assert "secret" not in redact(text).replace("hold no secret", "")
    yaml.safe_load(redact(text))
