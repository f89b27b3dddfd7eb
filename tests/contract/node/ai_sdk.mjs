// The Vercel AI SDK: what it got goes to stdout as one JSON object.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany, generateObject, generateText, streamText, tool } from "ai";
import { z } from "zod";

const [url, picture] = process.argv.slice(2);
const name = "mlx-gui";
const local = createOpenAICompatible({
  name, baseURL: `${url}/v1`, apiKey: "any", supportsStructuredOutputs: true, includeUsage: true,
});
const prompt = "How do I start MLX GUI?";
const cold = { model: local("starter"), prompt, temperature: 0, maxOutputTokens: 60, maxRetries: 0 };
const found = {};

found.plain = (await generateText(cold)).text;
const stream = streamText(cold);
found.streamed = "";
for await (const piece of stream.textStream) found.streamed += piece;
found.tokens = (await stream.usage).outputTokens;

const tiny = { model: local("tiny-text"), prompt: "Hi", maxOutputTokens: 200, maxRetries: 0 };
const person = z.object({ name: z.string().max(8), age: z.number().int().min(0).max(99) });
found.object = (await generateObject({ ...tiny, schema: person })).object;
const weather = tool({ description: "The weather", inputSchema: z.object({ city: z.enum(["Rome", "Paris"]) }) });
const called = await generateText({ ...tiny, tools: { weather }, toolChoice: "required" });
found.call = { name: called.toolCalls[0].toolName, input: called.toolCalls[0].input };

const vectors = await embedMany({ model: local.textEmbeddingModel("lexicon"), values: ["a cat", "a dog"] });
found.vectors = vectors.embeddings.length;

const content = [{ type: "text", text: "What?" }, { type: "image", image: picture }];
const asked = { messages: [{ role: "user", content }], maxOutputTokens: 4, maxRetries: 0 };
const seen = await generateText({ model: local("tiny-vision"), ...asked });
found.seen = seen.usage.inputTokens;

try {
  await generateText({ ...cold, model: local("nobody") });
} catch (error) {
  found.error = { status: error.statusCode, message: error.message };
}
console.log(JSON.stringify(found));
