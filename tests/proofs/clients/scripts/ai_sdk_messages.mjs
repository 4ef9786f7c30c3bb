// The Vercel AI SDK by @ai-sdk/anthropic: Messages. Its base URL ends in /v1.

import { createAnthropic } from "@ai-sdk/anthropic";
import { tryAll } from "./ai_sdk_calls.mjs";
import { told } from "./features.mjs";

const baseURL = `${process.env.ANTHROPIC_BASE_URL}/v1`;

await tryAll(createAnthropic({ baseURL })(told.model), createAnthropic({ baseURL, apiKey: "wrong" })(told.model));
