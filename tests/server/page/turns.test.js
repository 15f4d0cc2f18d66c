import assert from "node:assert/strict";
import { test } from "node:test";
import { createStore } from "../../../agentkit/server/static/store.js";
import { applyEvent, isOpen, newTurn, passagesOf, restarted, slice, support, utf16Index } from "../../../agentkit/server/static/turns.js";

const play = (...events) => events.reduce((turn, [event, data]) => applyEvent(turn, { event, data }), newTurn("Why?", 0));
const passage = (marker, text = "") => ({ marker, document: "d", start: 0, end: 9, text });

test("text and reasoning grow by their deltas", () => {
  const turn = play(["reasoning", { delta: "hm" }], ["text", { delta: "Be" }], ["text", { delta: "cause" }]);
  assert.deepEqual([turn.reasoning, turn.text, turn.state], ["hm", "Because", "running"]);
});

test("a turn is paused while any call waits", () => {
  const waits = [["tool", { id: "a", state: "waiting" }], ["tool", { id: "b", state: "waiting" }]];
  assert.equal(play(...waits).state, "paused");
  assert.equal(play(...waits, ["tool", { id: "a", state: "running" }]).state, "paused");
  const both = play(...waits, ["tool", { id: "a", state: "done", result: "1" }], ["tool", { id: "b", state: "denied" }]);
  assert.equal(both.state, "running");
  assert.deepEqual(both.tools.map((call) => [call.id, call.state, call.result]), [["a", "done", "1"], ["b", "denied", undefined]]);
});

test("passages that arrive later are added, each once", () => {
  const turn = play(["passages", { passages: [passage("1"), passage("2")] }], ["passages", { passages: [passage("2", "new"), passage("3")] }]);
  assert.deepEqual(turn.passages.map((each) => [each.marker, each.text]), [["1", ""], ["2", "new"], ["3", ""]]);
});

test("the whole turn replaces what was streamed", () => {
  const turn = play(["text", { delta: "draft" }], ["turn", { index: 7, text: "final", state: "done" }], ["done", {}]);
  assert.deepEqual([turn.index, turn.text, turn.state, turn.run], [0, "final", "done", null]);
});

test("a turn that fails keeps its text and says why", () => {
  const turn = play(["text", { delta: "Half" }], ["error", { message: "The model is gone." }], ["done", {}]);
  assert.deepEqual([turn.text, turn.state, turn.error.message], ["Half", "failed", "The model is gone."]);
});

test("unknown events change nothing", () => {
  const turn = newTurn("Why?", 0);
  assert.equal(applyEvent(turn, { event: "later", data: {} }), turn);
});

test("a turn is replayed from its question", () => {
  const turn = restarted({ ...play(["text", { delta: "Half" }]), run: "r" });
  assert.deepEqual([turn.text, turn.run, turn.question, isOpen(turn)], ["", "r", "Why?", true]);
});

test("cited passages come first, with their quotes, also those of earlier turns", () => {
  const turn = {
    ...newTurn("Why?", 1), passages: [passage("10"), passage("9"), passage("2")],
    citations: [
      { marker: "10", passage: passage("10"), quote: "a", start: 1, end: 2 },
      { marker: "10", passage: passage("10"), quote: "b", start: 4, end: 5 },
      { marker: "1", passage: passage("1"), quote: null },
    ],
  };
  assert.deepEqual(passagesOf(turn).map((each) => [each.marker, each.cited, each.quotes.map((quote) => quote.text)]), [
    ["1", true, []], ["10", true, ["a", "b"]], ["2", false, []], ["9", false, []],
  ]);
});

test("only sentences that were judged count", () => {
  const sentences = [{ start: 0, supported: true }, { start: 1, supported: false, reason: "no" }, { start: 2, supported: null }];
  assert.deepEqual(support({ sentences }), { checked: 2, unsupported: [sentences[1]] });
});

test("offsets count characters, not UTF-16 units", () => {
  const text = "a🜚b中🜚c";
  assert.deepEqual([0, 1, 2, 3, 4, 5, 6].map((place) => utf16Index(text, place)), [0, 1, 3, 4, 5, 7, 8]);
  assert.equal(slice(text, 1, 4), "🜚b中");
  assert.equal(slice("plain", 1, 3), "la");
  assert.equal(slice(text, 4, 99), "🜚c");
});

test("listeners hear of changes once, and of nothing else", async () => {
  const store = createStore({ a: 1, b: 2 });
  let heard = 0;
  const leave = store.subscribe(() => (heard += 1));
  store.set({ a: 1 });
  store.set({ a: 2 });
  store.set((state) => ({ b: state.a + 1 }));
  await Promise.resolve();
  assert.deepEqual([heard, store.get()], [1, { a: 2, b: 3 }]);
  leave();
  store.set({ a: 5 });
  await Promise.resolve();
  assert.equal(heard, 1);
});
