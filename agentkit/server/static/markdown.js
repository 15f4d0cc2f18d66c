// Markdown to safe elements: tables, highlighted code, formulas and citation chips.
//
// What a document or a model wrote is not trusted: only the tags and attributes below pass, images
// become their description (loading one would tell another server what was read), links are http(s)
// or mail addresses.

import DOMPurify from "./vendor/purify.js";
import hljs from "./vendor/highlight.js";
import { Marked } from "./vendor/marked.js";
import { withoutMarks } from "./marks.js";

const TAGS = [
  "a", "abbr", "b", "blockquote", "br", "code", "dd", "del", "details", "div", "dl", "dt", "em", "h1", "h2",
  "h3", "h4", "h5", "h6", "hr", "i", "ins", "kbd", "li", "mark", "ol", "p", "pre", "q", "s", "samp", "span",
  "strong", "sub", "summary", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "u", "ul", "var",
];
const ATTRIBUTES = [
  "title", "align", "start", "colspan", "rowspan", "data-lang", "data-tex", "data-display", "data-cite",
  "data-image",
];
const LINKS = /^(?:https?:|mailto:)/i;
const HIDDEN = /<(script|style)\b[\s\S]*?(?:<\/\1\s*>|$)/gi;
const TAG = /<\/?([a-z][^\s/>]*)[^>]*>/gi;
const STYLE = /[\s"'/]style\s*=\s*(?:"[^"]*"|'[^']*'|[^\s>]+)/gi;
const LAST_WORD = /(?:[\x21-\u2fff]{1,24}|\S)[ \u00a0]?$/;
const HIGHLIGHT_MOST = 40_000;
const MATH = [
  { level: "block", pattern: /^\$\$([\s\S]+?)\$\$(?:\n|$)/, begins: /\$\$/, display: true },
  { level: "block", pattern: /^\\\[([\s\S]+?)\\\](?:\n|$)/, begins: /\\\[/, display: true },
  { level: "inline", pattern: /^\$\$((?:\\.|[^\\$])+?)\$\$/, begins: /\$\$/, display: true },
  { level: "inline", pattern: /^\\\[([\s\S]+?)\\\]/, begins: /\\\[/, display: true },
  { level: "inline", pattern: /^\$(?![\s$])((?:\\.|[^\\\n$])+?)(?<!\s)\$(?!\d)/, begins: /\$/, display: false },
  { level: "inline", pattern: /^\\\(([\s\S]+?)\\\)/, begins: /\\\(/, display: false },
];

let markers = new Set();

const escape = (text) => text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);

const mathExtensions = MATH.map(({ level, pattern, begins, display }, number) => ({
  name: `math${number}`,
  level,
  start: (source) => source.match(begins)?.index,
  tokenizer(source) {
    const match = source.match(pattern);
    return match ? { type: `math${number}`, raw: match[0], tex: withoutMarks(match[1]).trim() } : undefined;
  },
  renderer: ({ tex }) => {
    const tag = level === "block" ? "div" : "span";
    return `<${tag} data-tex="${escape(tex)}"${display ? ' data-display="1"' : ""}>${escape(tex)}</${tag}>`;
  },
}));

const citationExtension = {
  name: "citation",
  level: "inline",
  start: (source) => source.match(/\[\d/)?.index,
  tokenizer(source) {
    const match = source.match(/^\[(\d{1,4}(?:\s*[,，、]\s*\d{1,4})*)\](?!\()/);
    if (!match) return undefined;
    const numbers = match[1].split(/[,，、]/).map((number) => number.trim());
    if (!numbers.every((number) => markers.has(number))) return undefined;
    return { type: "citation", raw: match[0], numbers };
  },
  renderer: ({ numbers }) => numbers.map((number) => `<span data-cite="${number}"></span>`).join(""),
};

const parser = new Marked({
  gfm: true,
  extensions: [...mathExtensions, citationExtension],
  renderer: {
    code({ text, lang }) {
      const language = (lang ?? "").trim().split(/\s/)[0];
      return `<pre data-lang="${escape(withoutMarks(language))}"><code>${escape(withoutMarks(text))}</code></pre>`;
    },
    html({ text }) {
      // Not for safety: a browser reports each style and address that its policy refuses in a parser.
      const allowed = (tag, name) => (TAGS.includes(name.toLowerCase()) ? tag.replace(STYLE, "") : "");
      return text.replace(HIDDEN, "").replace(TAG, allowed);
    },
    image({ href, text }) {
      return `<span data-image="${escape(href ?? "")}">${escape(withoutMarks(text ?? ""))}</span>`;
    },
  },
});

/** Split a text into its top-level blocks, whose `raw` tells whether one changed. */
export function blocks(text, known = []) {
  markers = new Set(known.map(String));
  return parser.lexer(text).filter((token) => token.type !== "space" && token.type !== "def");
}

/**
 * Render a block as a fragment. `labels` are `{copy, copied, image, citation(number)}`; formulas
 * appear once their library is loaded.
 */
export function renderBlock(token, labels) {
  const fragment = DOMPurify.sanitize(parser.parser([token]), {
    ALLOWED_TAGS: TAGS,
    ALLOWED_ATTR: ["href", ...ATTRIBUTES],
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    ALLOWED_URI_REGEXP: LINKS,
    ADD_URI_SAFE_ATTR: ATTRIBUTES,
    RETURN_DOM_FRAGMENT: true,
  });
  const all = (selector) => [...fragment.querySelectorAll(selector)];
  all("a").forEach(completeLink);
  all("[data-image]").forEach((element) => completeImage(element, labels));
  all("pre").forEach((element) => completeCode(element, labels));
  all("table").forEach(completeTable);
  all("[data-cite]").forEach((element) => completeCitation(element, labels));
  all("p").forEach(joinCitations);
  all("[data-tex]").forEach(completeMath);
  return fragment;
}

function completeLink(link) {
  if (!link.hasAttribute("href")) {
    link.replaceWith(...link.childNodes);
    return;
  }
  link.target = "_blank";
  link.rel = "noopener noreferrer nofollow";
  link.referrerPolicy = "no-referrer";
}

function completeImage(element, labels) {
  element.className = "image-text";
  element.textContent = `${labels.image}: ${element.textContent || element.dataset.image}`;
  element.removeAttribute("data-image");
}

function completeTable(table) {
  const frame = document.createElement("div");
  frame.className = "table-frame";
  frame.tabIndex = 0;
  frame.setAttribute("role", "group");
  table.replaceWith(frame);
  frame.append(table);
}

function completeCode(pre, labels) {
  const code = pre.querySelector("code");
  if (!code) return;
  const language = pre.dataset.lang;
  const text = code.textContent;
  if (hljs.getLanguage(language ?? "") && text.length <= HIGHLIGHT_MOST) {
    // highlight.js escapes the code; what it adds is <span class="hljs-…">.
    code.innerHTML = hljs.highlight(text, { language, ignoreIllegals: true }).value;
  }
  pre.tabIndex = 0;
  const frame = document.createElement("div");
  frame.className = "code-frame";
  const head = document.createElement("div");
  head.className = "code-head";
  const name = document.createElement("span");
  name.textContent = language || "text";
  const copy = document.createElement("button");
  copy.type = "button";
  copy.className = "code-copy";
  copy.textContent = labels.copy;
  copy.addEventListener("click", async () => {
    await copyText(text);
    copy.textContent = labels.copied;
    setTimeout(() => (copy.textContent = labels.copy), 1500);
  });
  head.append(name, copy);
  pre.replaceWith(frame);
  frame.append(head, pre);
}

function completeCitation(element, labels) {
  const number = element.dataset.cite;
  const chip = document.createElement("button");
  chip.type = "button";
  chip.className = "cite";
  chip.dataset.marker = number;
  chip.textContent = number;
  chip.setAttribute("aria-label", labels.citation(number));
  const { previousSibling: before, nextSibling: after } = element;
  // A line neither begins with a chip nor ends between a chip and the sentence's full stop.
  const unbroken = document.createElement("span");
  unbroken.className = "cite-end";
  element.replaceWith(unbroken);
  const word = before instanceof Text ? before.data.match(LAST_WORD)?.[0] ?? "" : "";
  if (word) before.data = before.data.slice(0, -word.length);
  unbroken.append(word, chip);
  const stop = after instanceof Text ? after.data.match(/^[.,;:!?)\]。，；：！？、）]+/)?.[0] : null;
  if (stop) {
    unbroken.append(stop);
    after.data = after.data.slice(stop.length);
  }
}

/** A paragraph of citations alone belongs to the one before. */
function joinCitations(paragraph) {
  const chips = [...paragraph.querySelectorAll(".cite")].map((chip) => chip.textContent).join("");
  if (chips && withoutMarks(paragraph.textContent).replace(/\s/g, "") === chips) paragraph.className = "cites-alone";
}

let katex = null;

function loadKatex() {
  katex ??= import("./vendor/katex.js").then(() => {
    const style = document.createElement("link");
    style.rel = "stylesheet";
    style.href = new URL("./vendor/katex.css", import.meta.url).href;
    document.head.append(style);
    return globalThis.katex;
  });
  return katex;
}

function completeMath(element) {
  const { tex, display } = element.dataset;
  element.className = display ? "math math-display" : "math";
  loadKatex()
    .then((library) => {
      // Renders through the DOM, not through markup, so that its inline styles pass the CSP.
      library.render(tex, element, { displayMode: Boolean(display), trust: false, maxExpand: 1000, strict: "ignore" });
    })
    .catch(() => {
      // What is no formula, or cannot be drawn, stays as it was written.
      element.textContent = tex;
      element.className = "math-source";
    });
}

/** Copy to the clipboard, also where the page is not served over HTTPS. */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "visually-hidden";
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}
