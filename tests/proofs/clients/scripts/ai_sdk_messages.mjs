// Vercel's AI SDK with its provider for Anthropic.
import assert from "node:assert";
import { createAnthropic } from "@ai-sdk/anthropic";
import { generateObject, generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";

globalThis.AI_SDK_LOG_WARNINGS = false;
const { HELEXA_URL, HELEXA_KEY, HELEXA_MODEL } = process.env;
const model = createAnthropic({ baseURL: `${HELEXA_URL}/v1`, apiKey: HELEXA_KEY })(HELEXA_MODEL);
const asked = { model, prompt: "hello", maxRetries: 0, maxOutputTokens: 600 };

const text = await generateText({ ...asked, maxOutputTokens: 10 });
assert(text.usage.outputTokens > 0);
let pieces = 0;
for await (const piece of streamText({ ...asked, maxOutputTokens: 10 }).textStream) pieces += piece.length > 0;
assert(pieces > 1);
console.log("generateText, streamText");

const inputSchema = jsonSchema({
  type: "object",
  properties: { rain: { type: "boolean" } },
  required: ["rain"],
  additionalProperties: false,
});
const weather = tool({ description: "Asks the sky.", inputSchema, execute: async ({ rain }) => (rain ? "wet" : "dry") });
const calling = { ...asked, tools: { weather }, toolChoice: "required", stopWhen: stepCountIs(3) };
const steps = (await generateText(calling)).steps;
assert(steps.length === 3 && steps.every((step) => step.toolResults.length > 0));
const parts = {};
for await (const part of streamText(calling).fullStream) parts[part.type] = (parts[part.type] ?? 0) + 1;
assert(parts["tool-call"] >= 3 && parts["tool-call"] === parts["tool-result"] && !parts.error);
console.log("tools in three steps, whole and streamed");

const { object } = await generateObject({ ...asked, schema: inputSchema });
assert(typeof object.rain === "boolean");
console.log("generateObject");

await assert.rejects(generateText({ ...asked, prompt: "river ".repeat(200_000) }), /prompt is too long: \d+ tokens/);
console.log("a prompt that is too long is told in words");
