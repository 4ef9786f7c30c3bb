"""What a client needs to use helexa with a key, ready to paste: declared once, for `issue_key` and docs."""

from __future__ import annotations

from typing import NamedTuple


class Paste(NamedTuple):
    """Text for one place: a file, a shell, a program. `language` is its fence in Markdown."""

    where: str
    language: str
    text: str


def settings_for(client: str, *, url: str, key: str, model: str) -> list[Paste]:
    """`url` is the gateway's, without `/v1`. Raises KeyError for a client that is not declared."""

    def filled(text: str) -> str:
        return text.replace("<url>", url).replace("<key>", key).replace("<model>", model).strip("\n")

    return [paste._replace(text=filled(paste.text)) for paste in CLIENTS[client]]


_OPENAI_VARIABLES = Paste(
    "shell",
    "sh",
    """
export OPENAI_BASE_URL=<url>/v1
export OPENAI_API_KEY=<key>
""",
)

CLIENTS: dict[str, list[Paste]] = {
    "openai": [
        _OPENAI_VARIABLES,
        Paste(
            "Python",
            "python",
            """
from openai import OpenAI

client = OpenAI()
answer = client.chat.completions.create(model="<model>", messages=[{"role": "user", "content": "Hello"}])
print(answer.choices[0].message.content)
""",
        ),
    ],
    "anthropic": [
        Paste(
            "shell",
            "sh",
            """
export ANTHROPIC_BASE_URL=<url>
export ANTHROPIC_API_KEY=<key>
""",
        ),
        Paste(
            "Python",
            "python",
            """
from anthropic import Anthropic

client = Anthropic()
message = client.messages.create(model="<model>", max_tokens=1000, messages=[{"role": "user", "content": "Hello"}])
print(message.content[0].text)
""",
        ),
    ],
    "claude-code": [
        Paste(
            "shell",
            "sh",
            """
unset ANTHROPIC_API_KEY
export ANTHROPIC_BASE_URL=<url>
export ANTHROPIC_AUTH_TOKEN=<key>
export ANTHROPIC_MODEL=<model>
export ANTHROPIC_DEFAULT_OPUS_MODEL=<model>
export ANTHROPIC_DEFAULT_SONNET_MODEL=<model>
export ANTHROPIC_DEFAULT_HAIKU_MODEL=<model>
export CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1
""",
        )
    ],
    "codex": [
        Paste(
            "~/.codex/config.toml",
            "toml",
            """
model = "<model>"
model_provider = "helexa"

[model_providers.helexa]
name = "helexa"
base_url = "<url>/v1"
model_catalog_url = "<url>/v1/models"
env_key = "HELEXA_GATEWAY_API_KEY"
wire_api = "responses"
""",
        ),
        Paste("shell", "sh", "export HELEXA_GATEWAY_API_KEY=<key>"),
    ],
    "opencode": [
        Paste(
            "opencode.json",
            "json",
            """
{
  "$schema": "https://opencode.ai/config.json",
  "model": "helexa/<model>",
  "provider": {
    "helexa": {
      "npm": "@ai-sdk/openai-compatible",
      "name": "helexa",
      "options": {"baseURL": "<url>/v1", "apiKey": "<key>"},
      "models": {"<model>": {"name": "<model>", "tool_call": true}}
    }
  }
}
""",
        )
    ],
    "zed": [
        Paste(
            "settings.json",
            "json",
            """
{
  "language_models": {
    "openai_compatible": {
      "Helexa Gateway": {
        "api_url": "<url>/v1",
        "available_models": [
          {
            "name": "<model>",
            "display_name": "<model>",
            "max_tokens": 32768,
            "capabilities": {"tools": true, "images": false, "parallel_tool_calls": true, "prompt_cache_key": false}
          }
        ]
      }
    }
  }
}
""",
        ),
        Paste("shell from which Zed is started", "sh", "export HELEXA_GATEWAY_API_KEY=<key>"),
    ],
    "open-webui": [
        Paste(
            "shell",
            "sh",
            """
docker run -d -p 3000:8080 -v open-webui:/app/backend/data \\
  -e OPENAI_API_BASE_URL=<url>/v1 -e OPENAI_API_KEY=<key> -e ENABLE_OLLAMA_API=false \\
  ghcr.io/open-webui/open-webui:main
""",
        )
    ],
    "litellm": [
        Paste(
            "Python",
            "python",
            """
import litellm

answer = litellm.completion(
    model="openai/<model>",
    api_base="<url>/v1",
    api_key="<key>",
    messages=[{"role": "user", "content": "Hello"}],
)
print(answer.choices[0].message.content)
""",
        ),
        Paste(
            "config.yaml of its proxy",
            "yaml",
            """
model_list:
  - model_name: <model>
    litellm_params:
      model: openai/<model>
      api_base: <url>/v1
      api_key: <key>
""",
        ),
    ],
    "langchain": [
        Paste(
            "Python, by langchain-openai",
            "python",
            """
from langchain_openai import ChatOpenAI

chat = ChatOpenAI(model="<model>", base_url="<url>/v1", api_key="<key>")
print(chat.invoke("Hello").content)
""",
        ),
        Paste(
            "Python, by langchain-anthropic",
            "python",
            """
from langchain_anthropic import ChatAnthropic

chat = ChatAnthropic(model="<model>", base_url="<url>", api_key="<key>", max_tokens=1000)
print(chat.invoke("Hello").content)
""",
        ),
    ],
    "ai-sdk": [
        Paste(
            "TypeScript, by @ai-sdk/openai-compatible",
            "ts",
            """
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText } from "ai";

const helexa = createOpenAICompatible({ name: "helexa", baseURL: "<url>/v1", apiKey: "<key>" });
const { text } = await generateText({ model: helexa("<model>"), prompt: "Hello" });
""",
        ),
        Paste(
            "TypeScript, by @ai-sdk/openai",
            "ts",
            """
import { createOpenAI } from "@ai-sdk/openai";

const helexa = createOpenAI({ baseURL: "<url>/v1", apiKey: "<key>" });
""",
        ),
        Paste(
            "TypeScript, by @ai-sdk/anthropic",
            "ts",
            """
import { createAnthropic } from "@ai-sdk/anthropic";

const helexa = createAnthropic({ baseURL: "<url>/v1", apiKey: "<key>" });
""",
        ),
    ],
    "curl": [
        Paste(
            "shell",
            "sh",
            """
curl -N <url>/v1/chat/completions -H "Authorization: Bearer <key>" -H "Content-Type: application/json" \\
  -d '{"model": "<model>", "stream": true, "messages": [{"role": "user", "content": "Hello"}]}'
""",
        )
    ],
}
