// The card beside a citation chip or an unsupported sentence.

import { html } from "../html.js";
import { t } from "../i18n.js";
import { useLayoutEffect, useRef } from "../vendor/preact-hooks.js";
import { Icon } from "./icons.js";
import { excerpt, placeOf } from "./passages.js";

const GAP = 8;
const LONGEST = 420;

export function Preview({ passage, doubt, anchor, onEnter, onLeave }) {
  const card = useRef();
  useLayoutEffect(() => place(card.current, anchor), [anchor, passage, doubt]);
  if (doubt) {
    return html`<div class="preview doubt" role="tooltip" ref=${card} onMouseEnter=${onEnter} onMouseLeave=${onLeave}>
      <p class="preview-head"><${Icon} name="warn" size=${16} />${t("Not supported by the passages")}</p>
      <p>${doubt.reason || t("No passage says this.")}</p>
    </div>`;
  }
  return html`<div class="preview" role="tooltip" ref=${card} onMouseEnter=${onEnter} onMouseLeave=${onLeave}>
    <p class="preview-head"><span class="marker">${passage.marker}</span><strong>${passage.title || passage.source}</strong></p>
    ${placeOf(passage) && html`<p class="place">${placeOf(passage)}</p>`}
    <blockquote>${excerpt(passage, LONGEST)}</blockquote>
    <p class="hint">${t("Click to read it in the document")}</p>
  </div>`;
}

/** Put the card above or below its anchor, inside the window. */
function place(card, anchor) {
  const box = anchor.getClientRects()[0] ?? anchor.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = card;
  const left = Math.min(Math.max(GAP, box.left + box.width / 2 - width / 2), window.innerWidth - width - GAP);
  const above = box.top - height - GAP;
  card.style.left = `${left}px`;
  card.style.top = `${above > GAP ? above : box.bottom + GAP}px`;
}
