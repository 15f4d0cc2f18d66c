// What an empty conversation shows: five example questions.

import { html } from "../html.js";
import { t } from "../i18n.js";
import { useApp, useStore } from "../store.js";
import { Icon, Logo } from "./icons.js";

const MOST = 5;

export function Welcome() {
  const { store, conversation } = useApp();
  const server = useStore((state) => state.server);
  const examples = (server?.examples ?? []).slice(0, MOST);
  const count = server?.documents?.count ?? 0;
  return html`<div class="welcome">
    <${Logo} size=${44} />
    <h1>${t("What would you like to know?")}</h1>
    <p>${count === 0
      ? t("There are no documents yet. Add some, then ask.")
      : t(count === 1 ? "Answers come from {n} document, each claim with the passage that supports it." : "Answers come from {n} documents, each claim with the passage that supports it.", { n: count })}</p>
    ${count === 0 && server && html`<button type="button" class="button primary" onClick=${() => store.set({ panel: { kind: "documents" } })}>
      <${Icon} name="upload" size=${16} />${t("Add documents")}</button>`}
    ${examples.length > 0 && html`<ul class="examples" aria-label=${t("Example questions")}>
      ${examples.map((question) => html`<li key=${question}><button type="button" onClick=${() => conversation.ask(question)}>
        <span>${question}</span><${Icon} name="right" size=${16} /></button></li>`)}</ul>`}
  </div>`;
}
