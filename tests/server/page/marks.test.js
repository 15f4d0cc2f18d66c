import assert from "node:assert/strict";
import { test } from "node:test";
import { insertMarks } from "../../../agentkit/server/static/marks.js";

const CODE = "```python\nimport llm\n```";
const [START, END] = ["\ue100", "\ue101"];
const marked = (text, quote) => {
  const start = text.indexOf(quote);
  return insertMarks(text, [{ start, end: start + quote.length }]);
};

for (const [what, text, quote, expected] of [
  ["prose", "One. Two.", "Two.", `One. ${START}Two.${END}`],
  ["prose and the code after it", `Set it.\n\n${CODE}\n\n### Next`, `Set it.\n\n${CODE}`, `${START}Set it.${END}\n\n${CODE}\n\n### Next`],
  ["prose and a part of the code", `Set it.\n${CODE}\nNext`, "Set it.\n```python\nimport", `${START}Set it.${END}\n${CODE}\nNext`],
  ["code and the prose after it", `${CODE}\nNext one.`, "import llm\n```\nNext one.", `${CODE}\n${START}Next one.${END}`],
  ["prose around code", `A.\n${CODE}\nB.`, `A.\n${CODE}\nB.`, `${START}A.\n${CODE}\nB.${END}`],
  ["code that is not closed", "Set it.\n~~~\nimport llm", "Set it.\n~~~\nimport", `${START}Set it.${END}\n~~~\nimport llm`],
]) {
  test(`the marks of ${what} leave the fences as they are`, () => assert.equal(marked(text, quote), expected));
}
