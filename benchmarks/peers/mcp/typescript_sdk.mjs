// The official TypeScript SDK's client, driven by lines of JSON: node FILE MODULES COMMAND...
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [modules, command, ...args] = process.argv.slice(2);
const load = (name) =>
  import(pathToFileURL(join(modules, "@modelcontextprotocol/sdk/dist/esm/client", name)));
const { Client } = await load("index.js");
const { StdioClientTransport } = await load("stdio.js");
const client = new Client({ name: "peer", version: "1" });
await client.connect(new StdioClientTransport({ command, args, env: process.env }));

for await (const line of createInterface({ input: process.stdin })) {
  const { method, params } = JSON.parse(line);
  try {
    console.log(JSON.stringify(await client[method](params)));
  } catch (error) {
    console.log(JSON.stringify({ error: error.message }));
  }
}
await client.close();
