// The Vercel AI SDK by @ai-sdk/openai-compatible: Chat Completions.

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { tryAll } from "./ai_sdk_calls.mjs";
import { told } from "./features.mjs";

const settings = { name: "helexa", baseURL: process.env.OPENAI_BASE_URL, supportsStructuredOutputs: true };

await tryAll(
  createOpenAICompatible({ ...settings, apiKey: process.env.OPENAI_API_KEY, includeUsage: true })(told.model),
  createOpenAICompatible({ ...settings, apiKey: "wrong" })(told.model),
);
