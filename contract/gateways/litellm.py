"""LiteLLM's proxy, 1.80 and later."""

import re

from contract.gateway_kind import GatewayKind

GATEWAY = GatewayKind(
    name="litellm",
    title="LiteLLM",
    # Right on every status 200, and on no other.
    group="x-litellm-model-group",
    api_base="x-litellm-model-api-base",
    fallbacks="x-litellm-attempted-fallbacks",
    retries="x-litellm-attempted-retries",
    overhead_ms="x-litellm-overhead-duration-ms",  # about half of what is measured
    version="x-litellm-version",  # no longer on /health/readiness
    metrics="/metrics/",  # without the slash it redirects, which would be followed with the key
    answers="litellm_deployment_success_responses_total",
    answers_group="model_group",
    answers_api_base="api_base",
    health="/health/liveliness",
    cooling=re.compile(r"in[ _]cooldown|No deployments available", re.IGNORECASE),
    wrong_key=(
        "No connected db",
        "LiteLLM's word for a key that is not its master key",
    ),  # without a database
    error_prefix=re.compile(r"(?:litellm\.(\w+): )(?:\1: )?"),  # it names its class twice
    shows_key="Received API Key",  # its end, and its hash
)
