"""LiteLLM, told that this is Anthropic."""

import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm

URL, KEY, MODEL = (os.environ[name] for name in ("HELEXA_URL", "HELEXA_KEY", "HELEXA_MODEL"))
litellm.suppress_debug_info = True
ASKED = {
    "model": f"anthropic/{MODEL}",
    "api_base": URL,
    "api_key": KEY,
    "messages": [{"role": "user", "content": "hello"}],
    "max_tokens": 600,
}

answer = litellm.completion(**{**ASKED, "max_tokens": 10})
assert answer.usage.prompt_tokens > 1
assert len(list(litellm.completion(**{**ASKED, "max_tokens": 10}, stream=True))) > 1
print("completion, whole and streamed")

schema = {"type": "object", "properties": {"rain": {"type": "boolean"}}, "required": ["rain"]}
tools = [{"type": "function", "function": {"name": "weather", "parameters": {**schema, "additionalProperties": False}}}]
answer = litellm.completion(**ASKED, tools=tools, tool_choice="required")
assert "rain" in answer.choices[0].message.tool_calls[0].function.arguments
print("tools")

try:
    litellm.completion(**{**ASKED, "messages": [{"role": "user", "content": "river " * 200_000}]})
except litellm.ContextWindowExceededError:
    print("a prompt that is too long is its ContextWindowExceededError")
else:
    raise AssertionError
try:
    litellm.completion(**{**ASKED, "api_key": "sk-wrong"})
except litellm.AuthenticationError:
    print("a wrong key is its AuthenticationError")
else:
    raise AssertionError
