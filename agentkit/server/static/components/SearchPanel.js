// A search of the passages, with the rank that each retriever gave.

import { html } from "../html.js";
import { message, t } from "../i18n.js";
import { useApp } from "../store.js";
import { useEffect, useRef, useState } from "../vendor/preact-hooks.js";
import { Icon } from "./icons.js";
import { excerpt, passagePanel, placeOf } from "./passages.js";

const RETRIEVERS = {
  dense: message("meaning"),
  keywords: message("words"),
  tokens: message("tokens"),
  rerank: message("reranker"),
};

export function SearchPanel({ panel }) {
  const { store, library } = useApp();
  const [query, setQuery] = useState(panel.query ?? "");
  const [result, setResult] = useState(null);
  const latest = useRef(0);
  const find = async (text) => {
    const turn = (latest.current += 1);
    if (!text.trim()) return setResult(null);
    setResult((known) => ({ ...known, busy: true }));
    try {
      const hits = await library.find(text.trim());
      if (turn === latest.current) {
        setResult({ hits });
        store.set({ announcement: t(hits.length === 1 ? "{n} passage found." : "{n} passages found.", { n: hits.length }) });
      }
    } catch (error) {
      if (turn === latest.current) setResult({ error });
    }
    return undefined;
  };
  useEffect(() => {
    if (query) find(query);
  }, []);
  const open = (passage) => store.set({ panel: { ...passagePanel(passage), back: { kind: "search", query } } });
  return html`<div class="panel-body">
    <form class="search-form" role="search" onSubmit=${(event) => { event.preventDefault(); find(query); }}>
      <div class="field-icon grow"><${Icon} name="search" size=${16} />
        <input type="search" data-autofocus value=${query} placeholder=${t("Words or a question")} aria-label=${t("Search passages")}
          onInput=${(event) => setQuery(event.target.value)} /></div>
      <button type="submit" class="button primary">${t("Search")}</button>
    </form>
    ${result?.error && html`<p class="field-error" role="alert">${result.error.message}</p>`}
    ${result?.hits?.length === 0 && html`<p class="empty">${t("No passage matches.")}</p>`}
    ${!result && html`<p class="hint">${t("Finds passages as the agent does, and shows how each retriever ranked them.")}</p>`}
    <ol class="hits" aria-busy=${Boolean(result?.busy)}>
      ${(result?.hits ?? []).map(({ passage, score, ranks }, index) => html`<li key=${index}>
        <button type="button" class="passage" onClick=${() => open(passage)}>
          <span class="marker plain">${index + 1}</span>
          <span class="passage-body">
            <span class="passage-head"><strong>${passage.title || passage.source}</strong>
              ${placeOf(passage) && html`<span class="place">${placeOf(passage)}</span>`}</span>
            <span class="excerpt">${excerpt(passage, 260)}</span>
            <span class="ranks">
              <span class="score" title=${t("Score")}>${Number(score).toFixed(3)}</span>
              ${Object.entries(ranks ?? {}).filter(([, rank]) => rank != null).map(([name, rank]) => html`<span key=${name}
                title=${t("Rank {n} by {retriever}", { n: rank, retriever: t(RETRIEVERS[name] ?? name) })}>${t(RETRIEVERS[name] ?? name)} <b>#${rank}</b></span>`)}
            </span>
          </span>
        </button></li>`)}
    </ol>
  </div>`;
}
