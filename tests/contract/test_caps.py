"""The cap of a request: which setting gives it, and the advice if a server refuses it."""

import pytest

from contract.caps import DEFAULT, Use, advice, cap
from contract.refusal import Refusal
from contract.strict import validate
from contract.topology import Topology


def topology(gateway=None, vllm=None, ollama=None) -> Topology:
    return Topology.model_validate(
        {
            "gateway": {"url": "http://g", "model": "a"} | (gateway or {}),
            "tiers": [
                {"name": "vllm", "match": {"group": "a"}} | (vllm or {}),
                {"name": "ollama", "match": {"group": "b"}} | (ollama or {}),
            ],
        }
    )


CAPS = [
    # settings of gateway, vllm, ollama; users' caps: through the gateway, to vllm, to ollama
    ({}, {}, {}, (10, 10, 10)),
    ({"max_tokens": 200}, {}, {}, (200, 200, 200)),
    ({}, {"max_tokens": 200}, {}, (200, 200, 10)),  # the serving tier is unknown: the largest
    ({}, {"max_tokens": 5}, {}, (10, 5, 10)),
    ({}, {"max_tokens": 5}, {"max_tokens": 6}, (6, 5, 6)),
    ({"max_tokens": 50}, {"max_tokens": 200}, {}, (50, 200, 50)),
]


@pytest.mark.parametrize(("gateway", "vllm", "ollama", "caps"), CAPS)
def test_which_setting_gives_a_users_cap(gateway, vllm, ollama, caps):
    found = topology(gateway, vllm, ollama)
    assert tuple(cap(found, Use.USERS, via) for via in ("gateway", "vllm", "ollama")) == caps


@pytest.mark.parametrize(("setting", "probe", "plan"), [(None, 1, 32), (16, 16, 32), (400, 400, 400)])
def test_a_short_request_has_at_least_what_the_probe_needs(setting, probe, plan):
    found = topology({} if setting is None else {"probe_max_tokens": setting})
    assert (cap(found, Use.PROBE), cap(found, Use.PLAN)) == (probe, plan)
    assert cap(found, Use.USERS) == DEFAULT[Use.USERS], "what the probe needs is not the users' cap"
    assert cap(found, Use.WATCH, "vllm") == max(8, probe)


@pytest.mark.parametrize("key", ["max_tokens", "probe_max_tokens"])
@pytest.mark.parametrize("value", [0, -1, "10", 1.5, True, 9000])
def test_an_invalid_cap_is_refused(key, value):
    data = {
        "gateway": {"url": "http://g", "model": "a", key: value},
        "tiers": [{"name": "v", "match": {"group": "a"}}],
    }
    with pytest.raises(Refusal, match=f"gateway: {key}: "):
        validate(data, Topology, "t.yaml")


ADVICE = [
    ("400: Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
     "set max_tokens_field: max_completion_tokens"),
    ("400: litellm.BadRequestError: OpenAIException - Unsupported parameter: 'max_completion_tokens' is not supported with this "
     "model. Use 'max_tokens' instead.", "set max_tokens_field: max_tokens"),
    ("400: Unsupported value: 'temperature' does not support 0.3 with this model. Only the default (1) value is supported.",
     "set drop_params: [temperature]"),
    ("400: Unsupported parameter: 'temperature' is not supported with this model.", "set drop_params: [temperature]"),
    ("400: Could not finish the message because max_tokens or model output limit was reached. Please try again with higher "
     "max_tokens.", "the model needs a larger cap: set probe_max_tokens, and max_tokens for users"),
    ("400: Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got 1 instead.",
     "the model needs a larger cap: set probe_max_tokens, and max_tokens for users"),
    ("400: litellm.BadRequestError: `max_tokens` must be greater than `thinking.budget_tokens`. Please consult our documentation",
     "the model needs a larger cap: set probe_max_tokens, and max_tokens for users"),
    ("400: litellm.UnsupportedParamsError: gpt-5 models don't support temperature=0.3. Only temperature=1 is supported.",
     "set drop_params: [temperature]"),
    ("400: litellm.UnsupportedParamsError: openai does not support parameters: ['temperature'], for model=o3-mini.",
     "set drop_params: [temperature]"),
    ("400: max_tokens must be at least 1, got 0.", None),
    ("400: temperature must be at most 2.", None),
    (None, None),
]  # fmt: skip


@pytest.mark.parametrize(("error", "helps"), ADVICE)
def test_advice_for_a_parameter_that_a_server_refuses(error, helps):
    assert advice(error) == helps
