// The official client for Node: what it got goes to stdout as one JSON object.
import OpenAI from "openai";

const [url, picture] = process.argv.slice(2);
const api = new OpenAI({ baseURL: `${url}/v1`, apiKey: "any", maxRetries: 0 });
const messages = [{ role: "user", content: "How do I start MLX GUI?" }];
const cold = { model: "starter", messages, temperature: 0, max_tokens: 60 };
const found = {};

found.plain = (await api.chat.completions.create(cold)).choices[0].message.content;
found.streamed = "";
for await (const chunk of await api.chat.completions.create({ ...cold, stream: true }))
  found.streamed += chunk.choices[0]?.delta.content ?? "";

const city = { type: "object", required: ["city"], properties: { city: { enum: ["Rome", "Paris"] } } };
const tools = [{ type: "function", function: { name: "get_weather", parameters: city } }];
const tiny = { model: "tiny-text", messages, max_tokens: 200 };
const called = await api.chat.completions.create({ ...tiny, tools, tool_choice: "required" });
found.call = called.choices[0].message.tool_calls[0].function;

const schema = { ...city, additionalProperties: false };
const response_format = { type: "json_schema", json_schema: { name: "x", strict: true, schema } };
found.json = (await api.chat.completions.create({ ...tiny, response_format })).choices[0].message.content;

const response = await api.responses.create({ model: "starter", input: "How do I start MLX GUI?", temperature: 0 });
found.response = response.output_text;
found.vectors = (await api.embeddings.create({ model: "lexicon", input: ["a cat", "a dog"] })).data.length;

const parts = [{ type: "text", text: "What?" }, { type: "image_url", image_url: { url: picture } }];
const seen = { model: "tiny-vision", messages: [{ role: "user", content: parts }], max_tokens: 4 };
found.seen = (await api.chat.completions.create(seen)).usage.prompt_tokens;

try {
  await api.chat.completions.create({ ...cold, model: "nobody" });
} catch (error) {
  found.error = { kind: error.constructor.name, status: error.status, param: error.param };
}
console.log(JSON.stringify(found));
