import assert from "node:assert/strict";
import { test } from "node:test";
import { ApiError } from "../../../agentkit/server/static/api.js";
import { Conversation } from "../../../agentkit/server/static/conversation.js";
import { folders, formatBytes, Library } from "../../../agentkit/server/static/library.js";
import { createStore, INITIAL } from "../../../agentkit/server/static/store.js";

/** A server that answers by `METHOD path`, and whose runs play these events. */
function page(routes = {}, events = []) {
  const requests = [];
  const answer = (method) => async (path, body) => {
    requests.push([method, path, body]);
    const found = routes[`${method} ${path}`];
    if (found instanceof Error) throw found;
    return typeof found === "function" ? found(body) : found ?? { sessions: [] };
  };
  const api = {
    wait: async () => {}, get: answer("GET"), post: answer("POST"), patch: answer("PATCH"), delete: answer("DELETE"),
    async *events() {
      for (const each of events) {
        if (each instanceof Error) throw each;
        yield each;
      }
    },
  };
  const store = createStore(INITIAL);
  const shown = [];
  const notices = { info: (text) => shown.push(text), error: (error) => shown.push(error.message) };
  const places = [];
  const conversation = new Conversation({ store, api, notices, navigate: (path) => places.push(path) });
  return { requests, store, shown, places, conversation, library: new Library({ store, api, notices }) };
}

const ROUTES = { "POST sessions": { id: "s1" }, "POST sessions/s1/turns": { run: "s1.0", fork: null } };
const ANSWER = [
  { event: "text", data: { delta: "Every " } },
  { event: "text", data: { delta: "Sunday." } },
  { event: "turn", data: { text: "Every Sunday.", state: "done", citations: [], sentences: [] } },
  { event: "done", data: {} },
];
const settled = () => new Promise((resolve) => setTimeout(resolve, 5));

test("the first question makes a session, and its answer is read to the end", async () => {
  const { conversation, store, places, requests } = page(ROUTES, ANSWER);
  conversation.begin();
  assert.equal(await conversation.ask("  When? "), true);
  await settled();
  const { session, announcement } = store.get();
  assert.deepEqual([session.id, session.title, places], ["s1", "When?", ["chat/s1"]]);
  assert.deepEqual(session.turns.map((turn) => [turn.question, turn.text, turn.state]), [["When?", "Every Sunday.", "done"]]);
  assert.deepEqual(requests.find(([, path]) => path.endsWith("/turns"))[2], { question: "When?" });
  assert.match(announcement, /complete/);
});

test("a question goes with the chosen model and documents", async () => {
  const { conversation, store, requests } = page(ROUTES, ANSWER);
  conversation.begin();
  store.set({ model: "demo/papers", sources: ["a/**"] });
  await conversation.ask("When?");
  assert.deepEqual(requests.find(([, path]) => path.endsWith("/turns"))[2], { question: "When?", model: "demo/papers", sources: ["a/**"] });
});

test("a question that the server refuses leaves the conversation as it was", async () => {
  const refusal = new ApiError({ message: "The server is busy." }, 503);
  const { conversation, store, shown } = page({ ...ROUTES, "POST sessions/s1/turns": refusal });
  conversation.begin();
  assert.equal(await conversation.ask("When?"), false);
  assert.deepEqual([store.get().session.turns, shown], [[], ["The server is busy."]]);
});

for (const [what, code] of [["the answer before is being stored", "session_busy"], ["the server opens its folder again", "stopping"]]) test(`a question is asked again while ${what}`, async () => {
  let tries = 0;
  const busy = () => {
    tries += 1;
    if (tries < 3) throw new ApiError({ message: "Not now.", code }, 409);
    return { run: "s1.1" };
  };
  const { conversation, store, shown } = page({ ...ROUTES, "POST sessions/s1/turns": busy }, ANSWER);
  conversation.begin();
  assert.equal(await conversation.ask("When?"), true);
  await settled();
  assert.deepEqual([tries, shown, store.get().session.turns[0].state], [3, [], "done"]);
});

test("an edited question takes the place of its turn and what followed", async () => {
  const { conversation, store, requests, shown } = page(
    { ...ROUTES, "POST sessions/s1/turns": { run: "s1.1", fork: "old" } }, ANSWER,
  );
  const done = (question, index) => ({ question, index, state: "done", text: "", tools: [], citations: [], passages: [] });
  store.set({ session: { id: "s1", title: "", turns: [done("a", 0), done("b", 1), done("c", 2)] } });
  await conversation.ask("b2", { replace: 1 });
  await settled();
  assert.deepEqual(store.get().session.turns.map((turn) => turn.question), ["a", "b2"]);
  assert.equal(requests.find(([, path]) => path.endsWith("/turns"))[2].replace, 1);
  assert.equal(shown.length, 1);
});

test("a running answer is read again from its start when its session is opened", async () => {
  const running = { question: "When?", index: 0, state: "running", run: "s1.0", text: "Every ", tools: [], citations: [], passages: [], attachments: [] };
  const { conversation, store } = page({ "GET sessions/s1": { id: "s1", title: "When?", turns: [running] } }, ANSWER);
  await conversation.open("s1");
  await settled();
  assert.equal(store.get().session.turns[0].text, "Every Sunday.");
});

test("an answer whose events are gone is shown as it was stored", async () => {
  const stored = { question: "When?", index: 0, state: "running", run: "s1.0", text: "Every ", tools: [], citations: [], passages: [], attachments: [] };
  const { conversation, store } = page(
    { "GET sessions/s1": { id: "s1", title: "", turns: [stored] } }, [new ApiError({ message: "gone" }, 404)],
  );
  await conversation.open("s1");
  await settled();
  assert.deepEqual([store.get().session.turns[0].text, store.get().session.turns[0].state], ["Every ", "stopped"]);
});

test("events of a session that was left change nothing", async () => {
  const { conversation, store } = page(ROUTES, ANSWER);
  conversation.begin();
  const asking = conversation.ask("When?");
  conversation.begin();
  await asking;
  await settled();
  assert.deepEqual(store.get().session, { id: null, title: "", turns: [] });
});

test("no second question is asked while one is answered", async () => {
  const { conversation, store, requests } = page(ROUTES);
  store.set({ session: { id: "s1", title: "", turns: [{ state: "paused" }] } });
  assert.equal(await conversation.ask("And?"), false);
  assert.deepEqual(requests, []);
});

test("changed arguments that do not fit come back as a message", async () => {
  const refusal = new ApiError({ message: "These arguments do not fit: run." }, 422);
  const { conversation, shown } = page({ "POST runs/s1.0/calls/outer%2Fa": refusal });
  const message = await conversation.decide("s1.0", "outer/a", { decision: "allow", arguments: {} });
  assert.deepEqual([message, shown], ["These arguments do not fit: run.", []]);
});

test("a file that is too large is not sent", async () => {
  const { library, store } = page();
  store.set({ server: { limits: { upload_bytes: 1024 } } });
  await library.upload([{ name: "big.pdf", size: 2048 }]);
  assert.deepEqual(store.get().uploads.map(({ name, state, error }) => [name, state, error]), [
    ["big.pdf", "failed", "The file is larger than 1.0 KB, the most this server takes."],
  ]);
});

test("folders are listed with their documents, addresses are no folders", () => {
  const documents = ["a/x.md", "a/b/y.md", "z.md", "https://example.org/a/b"].map((source) => ({ source }));
  assert.deepEqual(folders(documents), [{ path: "a/", count: 2 }]);
  assert.deepEqual([0, 900, 5120, 2_400_000].map(formatBytes), ["0 B", "900 B", "5.0 KB", "2.3 MB"]);
});
