// The official TypeScript SDK's client against a server:
// node peer.mjs MODULES RELEASE URL, or a command and its arguments instead of a URL.
// Prints as JSON what it was given. Works with the SDK's releases 1 (sdk) and 2 (client).
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [modules, release, target, ...rest] = process.argv.slice(2);
const load = (...path) => import(pathToFileURL(join(modules, "@modelcontextprotocol", ...path)));

async function parts() {
  if (release === "2") {
    const base = await load("client", "dist", "index.mjs");
    return { ...base, ...(await load("client", "dist", "stdio.mjs")) };
  }
  const at = (name) => load("sdk", "dist", "esm", "client", name);
  return { ...(await at("index.js")), ...(await at("stdio.js")), ...(await at("streamableHttp.js")) };
}

const { Client, StdioClientTransport, StreamableHTTPClientTransport } = await parts();
const transport = target.startsWith("http")
  ? new StreamableHTTPClientTransport(new URL(target))
  : new StdioClientTransport({ command: target, args: rest, env: process.env });
const client = new Client({ name: "peer", version: "1" });
await client.connect(transport);
const { tools } = await client.listTools();
const found = await client.callTool({ name: "search_knowledge", arguments: { query: "cats" } });
const { resources } = await client.listResources();
const { contents } = await client.readResource({ uri: resources[0].uri });
const { completion } = await client.complete({
  ref: { type: "ref/prompt", name: "quiz_me" },
  argument: { name: "source", value: "p" },
});
const prompt = await client.getPrompt({ name: "quiz_me", arguments: { source: "pets.md" } });
console.log(
  JSON.stringify({
    server: client.getServerVersion().name,
    tools: tools.map((tool) => tool.name),
    hit: found.structuredContent.hits[0].source,
    kinds: found.content.map((block) => block.type),
    text: contents[0].text,
    completed: completion.values,
    messages: prompt.messages.length,
  }),
);
await client.close();
