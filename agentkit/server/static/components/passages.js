// What several components show of a passage.

import { t } from "../i18n.js";

// Formats whose documents are read as Markdown, by suffix.
const MARKDOWN = new Set([
  "md", "markdown", "html", "htm", "xhtml", "docx", "odt", "pptx", "odp", "epub", "ipynb", "org", "rst", "tex",
]);

export const isMarkdown = (format) => MARKDOWN.has(format);

/** Where a passage stands: its last two headings, and the page. */
export function placeOf(passage) {
  const page = passage.page ? t("page {n}", { n: passage.page }) : passage.part;
  return [headingPath(passage, -2), page].filter(Boolean).join(" · ");
}

/** The headings above a passage, or the last ones with a negative `from`. */
export const headingPath = ({ heading }, from = 0) => (heading ?? "").split(" > ").slice(from).join(" › ");

/**
 * The side panel's state that shows a passage in its document, beside the others of its turn: its
 * first quote where the answer rests on one, else all of it.
 */
export const passagePanel = (passage, turn = null) => ({
  kind: "passage",
  document: passage.document,
  start: passage.quotes?.[0]?.start ?? passage.start,
  end: passage.quotes?.[0]?.end ?? passage.end,
  marker: passage.marker ?? null,
  title: passage.title || passage.source,
  turn: turn ? turn.index : null,
});

const MARKUP = [
  [/^[ \t]*(?:#{1,6}|>|[-*+]|\d{1,9}[.)])[ \t]+/gm, ""],
  [/^[ \t]*\|?[ \t:|-]+\|?[ \t]*$/gm, ""],
  [/!?\[([^\]]*)\]\([^)]*\)/g, "$1"],
  [/(\*\*|__|~~|`+)(\S.*?)\1/g, "$2"],
  [/[ \t]*\|[ \t]*/g, "  "],
];

/** The first characters of a passage's quotes, else of its text, without Markdown's markup. */
export function excerpt({ text, format, quotes = [] }, most) {
  const chosen = quotes.length ? quotes.map((quote) => quote.text).join(" … ") : text;
  const plain = isMarkdown(format) ? MARKUP.reduce((rest, [pattern, by]) => rest.replace(pattern, by), chosen) : chosen;
  const flat = plain.replace(/\s+/g, " ").trim();
  if (flat.length <= most) return flat;
  const cut = flat.slice(0, most);
  const space = cut.lastIndexOf(" ");
  return `${space > most * 0.7 ? cut.slice(0, space) : cut}…`;
}
