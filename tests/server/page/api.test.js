import assert from "node:assert/strict";
import { test } from "node:test";
import { Api, ApiError, parseEvents } from "../../../agentkit/server/static/api.js";

const bytes = (...chunks) => new ReadableStream({
  start(controller) {
    for (const chunk of chunks) controller.enqueue(typeof chunk === "string" ? new TextEncoder().encode(chunk) : chunk);
    controller.close();
  },
});
const collect = async (source) => {
  const all = [];
  for await (const each of source) all.push(each);
  return all;
};
const answers = (...responses) => {
  const requests = [];
  const send = async (url, options) => {
    requests.push({ url, ...options });
    const next = responses.shift();
    if (next instanceof Error) throw next;
    return next;
  };
  return { requests, send };
};
const api = (fake) => new Api({ base: "http://server/api/", fetch: fake.send, wait: async () => {} });

const STREAM = 'id: 1\nevent: text\ndata: {"delta":"a"}\n\n: ping\n\nid: 2\nevent: text\ndata: {"delta":"é中🜚"}\n\n';

test("events are read from chunks that end anywhere, with any line ends", async () => {
  for (const text of [STREAM, STREAM.replaceAll("\n", "\r\n"), STREAM.replaceAll("\n", "\r")]) {
    const data = new TextEncoder().encode(text);
    for (const size of [1, 2, 3, 7, data.length]) {
      const chunks = [];
      for (let at = 0; at < data.length; at += size) chunks.push(data.slice(at, at + size));
      const events = await collect(parseEvents(bytes(...chunks)));
      assert.deepEqual(events, [
        { id: "1", event: "text", data: { delta: "a" } },
        { id: "2", event: "text", data: { delta: "é中🜚" } },
      ]);
    }
  }
});

test("several data lines are one text, and an event without its blank line is incomplete", async () => {
  const events = await collect(parseEvents(bytes("data: [1,\ndata: 2]\n\ndata: 3\n")));
  assert.deepEqual(events, [{ id: null, event: "message", data: [1, 2] }]);
});

test("a broken stream goes on after the last event that arrived", async () => {
  const fake = answers(
    new Response(bytes('id: 1\nevent: text\ndata: {"delta":"a"}\n\n')),
    new TypeError("network"),
    new Response("", { status: 503 }),
    new Response(bytes("id: 2\nevent: done\ndata: {}\n\nid: 3\nevent: text\ndata: {}\n\n")),
  );
  const events = await collect(api(fake).events("runs/r/events"));
  assert.deepEqual(events.map((event) => event.id), ["1", "2"]);
  assert.deepEqual(fake.requests.map((request) => request.headers["last-event-id"]), [undefined, "1", "1", "1"]);
});

test("a stream that the server refuses is not asked for again", async () => {
  const fake = answers(new Response('{"error":{"message":"No such run.","next":"Ask again."}}', { status: 404 }));
  await assert.rejects(collect(api(fake).events("runs/r/events")), (error) => error.status === 404 && error.next === "Ask again.");
  assert.equal(fake.requests.length, 1);
});

test("a stream that is left is not opened again", async () => {
  const controller = new AbortController();
  const fake = answers(new Response(bytes(STREAM)));
  for await (const event of api(fake).events("runs/r/events", { signal: controller.signal })) {
    if (event.id === "2") controller.abort();
  }
  assert.equal(fake.requests.length, 1);
});

test("an error has the server's message, or says what happened", async () => {
  const cases = [
    [new Response('{"error":{"message":"Too long.","code":"too_large"}}', { status: 413 }), "Too long.", "too_large", 413],
    [new Response("<html>", { status: 502 }), "The server answered with status 502.", null, 502],
    [new TypeError("network"), "The server cannot be reached.", "unreachable", 0],
    [new Response("<html>"), "The server did not answer with JSON.", "invalid", 200],
  ];
  for (const [response, message, code, status] of cases) {
    await assert.rejects(api(answers(response)).get("state"), (error) => {
      assert.ok(error instanceof ApiError);
      assert.deepEqual([error.message, error.code, error.status], [message, code, status]);
      return true;
    });
  }
});

test("empty values leave the query, an empty answer is null", async () => {
  const fake = answers(new Response(null, { status: 204 }), new Response(null, { status: 204 }));
  assert.equal(await api(fake).get("sessions", { q: "", limit: 5, offset: 0 }), null);
  await api(fake).delete("sessions/a");
  assert.deepEqual(fake.requests.map(({ method, url }) => [method, url]), [
    ["GET", "http://server/api/sessions?limit=5&offset=0"], ["DELETE", "http://server/api/sessions/a"],
  ]);
});
