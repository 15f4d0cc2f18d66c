import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { dateGroup, preferredLanguage, setLanguage, t } from "../../../agentkit/server/static/i18n.js";
import { CHINESE } from "../../../agentkit/server/static/zh.js";

const STATIC = new URL("../../../agentkit/server/static/", import.meta.url);
const sources = ["", "components/"].flatMap((folder) => readdirSync(new URL(folder, STATIC))
  .filter((name) => name.endsWith(".js")).map((name) => readFileSync(new URL(folder + name, STATIC), "utf8")));
const used = new Set(sources.flatMap((source) => [...source.matchAll(/\b(?:t|message)\(((?:[^()"`]|"(?:[^"\\]|\\.)*")*)/g)]
  .flatMap(([, call]) => [...call.split(", {")[0].matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, text]) => text))));

test("every message has a translation, and every translation a message", () => {
  assert.ok(used.size > 100);
  assert.deepEqual([...used].filter((text) => !(text in CHINESE)), []);
  assert.deepEqual(Object.keys(CHINESE).filter((text) => !used.has(text)), []);
});

test("a translation keeps the values of its message", () => {
  const names = (text) => [...text.matchAll(/\{\w+\}/g)].map(([name]) => name).sort();
  for (const [english, chinese] of Object.entries(CHINESE)) assert.deepEqual(names(chinese), names(english), english);
});

test("values are filled in, in either language", () => {
  setLanguage("zh");
  assert.equal(t("page {n} of {all}", { n: 2, all: 9 }), "第 2 / 9 页");
  setLanguage("xx");
  assert.equal(t("page {n} of {all}", { n: 2, all: 9000 }), "page 2 of 9,000");
});

test("the first language of the browser that the page speaks is chosen", () => {
  assert.deepEqual([["de", "zh-TW"], ["en-GB", "zh"], ["fr"], undefined].map(preferredLanguage), ["zh", "en", "en", "en"]);
});

test("dates are grouped by days, not by hours", () => {
  const now = new Date(2026, 10, 29, 0, 30);
  const at = (...values) => dateGroup(new Date(...values).toISOString(), now);
  assert.deepEqual([at(2026, 10, 29, 0, 1), at(2026, 10, 28, 23, 59), at(2026, 10, 24), at(2026, 9, 1)], ["Today", "Yesterday", "This week", "Earlier"]);
});
