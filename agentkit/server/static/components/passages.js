// What several components show of a passage.

import { t } from "../i18n.js";

/** Where a passage stands: heading and page. */
export function placeOf(passage) {
  const page = passage.page ? t("page {n}", { n: passage.page }) : null;
  return [passage.heading, page].filter(Boolean).join(" · ");
}

/** The side panel's state that shows a passage in its document, beside the others of its turn. */
export const passagePanel = (passage, turn = null) => ({
  kind: "passage",
  document: passage.document,
  start: passage.start,
  end: passage.end,
  marker: passage.marker ?? null,
  title: passage.title || passage.source,
  turn: turn ? turn.index : null,
});

/** The first characters of a text, cut at a word. */
export function excerpt(text, most) {
  const flat = text.replace(/\s+/g, " ").trim();
  if (flat.length <= most) return flat;
  const cut = flat.slice(0, most);
  const space = cut.lastIndexOf(" ");
  return `${space > most * 0.7 ? cut.slice(0, space) : cut}…`;
}
