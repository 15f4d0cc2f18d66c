import assert from "node:assert/strict";
import { test } from "node:test";
import { visible } from "../../../agentkit/server/static/hidden.js";

test("what a person cannot see is written out, so that an approval is of what is shown", () => {
  const shown = { "bob\u202eeve": "bob<U+202E>eve", "a\u200b": "a<U+200B>", "\u{e0041}": "<U+E0041>", "\u3164\u2028\r": "<U+3164><U+2028><U+000D>" };
  for (const [text, expected] of Object.entries(shown)) assert.equal(visible(text), expected);
});

test("text of any script stays as it is", () => {
  for (const text of ["a\n\tb", "中文，标点。", "né", "❤\ufe0f", "한국어"]) assert.equal(visible(text), text);
});
