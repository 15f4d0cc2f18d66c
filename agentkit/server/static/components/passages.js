// What several components show of a passage.

import { t } from "../i18n.js";

/** Where a passage stands: heading and page. */
export function placeOf(passage) {
  const page = passage.page ? t("page {n}", { n: passage.page }) : null;
  return [passage.heading?.replaceAll(" > ", " › "), page ?? passage.part].filter(Boolean).join(" · ");
}

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
  const isMarkdown = format === "md" || format === "markdown";
  const chosen = quotes.length ? quotes.map((quote) => quote.text).join(" … ") : text;
  const plain = isMarkdown ? MARKUP.reduce((rest, [pattern, by]) => rest.replace(pattern, by), chosen) : chosen;
  const flat = plain.replace(/\s+/g, " ").trim();
  if (flat.length <= most) return flat;
  const cut = flat.slice(0, most);
  const space = cut.lastIndexOf(" ");
  return `${space > most * 0.7 ? cut.slice(0, space) : cut}…`;
}
