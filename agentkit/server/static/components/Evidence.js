// Every passage that the model was given, below the answer: the cited first, then the others.

import { html, classes } from "../html.js";
import { t } from "../i18n.js";
import { useApp, useStore } from "../store.js";
import { isOpen, passagesOf } from "../turns.js";
import { useState } from "../vendor/preact-hooks.js";
import { Icon } from "./icons.js";
import { excerpt, passagePanel, placeOf } from "./passages.js";

export function Evidence({ turn }) {
  const [all, setAll] = useState(false);
  const passages = passagesOf(turn);
  if (!passages.length || isOpen(turn)) return null;
  const cited = passages.filter((passage) => passage.cited);
  const others = passages.filter((passage) => !passage.cited);
  return html`<div class="evidence" role="group" aria-label=${t("Passages")}>
    ${cited.length > 0 && html`
      <h3>${t("Cited")} <span>${cited.length}</span></h3>
      <ol class="passages">${cited.map((passage) => html`<${Passage} key=${passage.marker} passage=${passage} turn=${turn} />`)}</ol>`}
    ${others.length > 0 && html`
      <button type="button" class="disclosure" aria-expanded=${all} onClick=${() => setAll(!all)}>
        <${Icon} name=${all ? "down" : "right"} size=${14} />
        ${t(others.length === 1 ? "{n} more passage was given to the model, not cited" : "{n} more passages were given to the model, not cited", { n: others.length })}
      </button>
      ${all && html`<ol class="passages">${others.map((passage) => html`<${Passage} key=${passage.marker} passage=${passage} turn=${turn} />`)}</ol>`}`}
  </div>`;
}

function Passage({ passage, turn }) {
  const { store } = useApp();
  const active = useStore((state) => state.panel?.kind === "passage" && state.panel.marker === passage.marker && state.panel.turn === turn.index);
  return html`<li>
    <button type="button" class=${classes("passage", passage.cited && "cited", active && "active")} aria-pressed=${active}
      onClick=${() => store.set({ panel: passagePanel(passage, turn) })}>
      <span class="marker">${passage.marker}</span>
      <span class="passage-body">
        <span class="passage-head"><strong>${passage.title || passage.source}</strong>
          ${placeOf(passage) && html`<span class="place">${placeOf(passage)}</span>`}</span>
        <span class="excerpt">${excerpt(passage, 180)}</span>
      </span>
      ${passage.relevance != null && html`<${Relevance} value=${passage.relevance} />`}
    </button>
  </li>`;
}

/** How well a passage fits the question, from 0 to 1, as three steps. */
function Relevance({ value }) {
  const step = value >= 0.66 ? 3 : value >= 0.33 ? 2 : 1;
  const label = t("Relevance {n} %", { n: Math.round(value * 100) });
  return html`<span class="relevance" role="img" aria-label=${label} title=${label}>
    ${[1, 2, 3].map((each) => html`<i key=${each} class=${each <= step ? "on" : ""}></i>`)}</span>`;
}
