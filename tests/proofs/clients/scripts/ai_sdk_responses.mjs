// The Vercel AI SDK by @ai-sdk/openai: Responses.

import { createOpenAI } from "@ai-sdk/openai";
import { tryAll } from "./ai_sdk_calls.mjs";
import { told } from "./features.mjs";

// This provider knows by name which models think, and tells others nothing of `reasoning`.
const options = { openai: { forceReasoning: true } };

await tryAll(createOpenAI()(told.model), createOpenAI({ apiKey: "wrong" })(told.model), options);
