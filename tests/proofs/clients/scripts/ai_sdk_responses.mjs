// The Vercel AI SDK by @ai-sdk/openai: Responses.

import { createOpenAI } from "@ai-sdk/openai";
import { tryAll } from "./ai_sdk_calls.mjs";
import { told } from "./features.mjs";

await tryAll(createOpenAI()(told.model), createOpenAI({ apiKey: "wrong" })(told.model));
