// The Vercel AI SDK: the same features for each provider, whatever API is under it.

import assert from "node:assert/strict";
import { APICallError, generateText, isStepCount, Output, streamText, tool } from "ai";
import { z } from "zod";
import { feature, runAll, told } from "./features.mjs";

/** `model` is the scripted model by one provider, `nobody` the same with a wrong key. */
export async function tryAll(model, nobody, providerOptions = {}) {
  const asked = { model, providerOptions, prompt: "Hello", maxRetries: 0, maxOutputTokens: 2000 };
  const lookedUp = [];
  const lookup = tool({
    description: "How warm it is in a city.",
    inputSchema: z.object({ city: z.enum(told.cities) }),
    execute: ({ city }) => {
      lookedUp.push(city);
      return { city, degrees: 10 + told.cities.indexOf(city) };
    },
  });
  const weather = Output.object({ schema: z.object({ city: z.enum(["Paris", "Tokyo"]), rain: z.boolean() }) });

  feature("text", async () => {
    const { text, finishReason } = await generateText({ ...asked, instructions: "Be kind." });
    assert.deepEqual([text, finishReason], [told.first_word, "stop"]);
  });

  feature("stream", async () => {
    const { textStream } = streamText(asked);
    const pieces = [];
    for await (const piece of textStream) pieces.push(piece);
    assert.equal(pieces.join(""), told.first_word);
    assert.ok(pieces.length > 5);
  });

  feature("tools", async () => {
    for (const toolChoice of ["auto", "required", { type: "tool", toolName: "lookup" }]) {
      const { toolCalls, finishReason } = await generateText({ ...asked, tools: { lookup }, toolChoice });
      assert.deepEqual([toolCalls.length, finishReason], [1, "tool-calls"]);
      assert.ok(told.cities.includes(toolCalls[0].input.city));
    }
  });

  feature("loop", async () => {
    lookedUp.length = 0;
    const { text } = await generateText({ ...asked, tools: { lookup }, stopWhen: isStepCount(9) });
    assert.equal(text, told.last_word);
    assert.deepEqual(lookedUp, told.cities);
  });

  feature("streamed_loop", async () => {
    lookedUp.length = 0;
    assert.equal(await streamText({ ...asked, tools: { lookup }, stopWhen: isStepCount(9) }).text, told.last_word);
    assert.deepEqual(lookedUp, told.cities);
  });

  feature("structured", async () => {
    const { output } = await generateText({ ...asked, output: weather });
    assert.equal(typeof output.rain, "boolean");
    assert.equal(typeof (await streamText({ ...asked, output: weather }).output).rain, "boolean");
  });

  feature("reasoning", async () => {
    const { text, reasoningText } = await generateText({ ...asked, reasoning: "low" });
    assert.deepEqual([text, reasoningText?.trim()], [told.first_word, told.thought]);
    const streamed = streamText({ ...asked, reasoning: "low" });
    assert.equal((await streamed.reasoningText)?.trim(), told.thought);
  });

  feature("usage", async () => {
    const { usage } = await generateText(asked);
    assert.equal(usage.totalTokens, usage.inputTokens + usage.outputTokens);
    const streamed = await streamText(asked).usage;
    assert.equal(streamed.totalTokens, usage.totalTokens);
  });

  feature("errors", async () => {
    await assert.rejects(generateText({ ...asked, model: nobody }), (error) => {
      assert.ok(APICallError.isInstance(error), error);
      assert.deepEqual([error.statusCode, error.isRetryable], [401, false]);
      assert.match(error.message, /API key/); // read from the envelope
      return true;
    });
  });

  await runAll();
}
