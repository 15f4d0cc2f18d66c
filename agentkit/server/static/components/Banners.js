// Notices about the server that stay until their cause is gone, and short messages that do not.

import { html, classes } from "../html.js";
import { t } from "../i18n.js";
import { useApp, useStore } from "../store.js";
import { useState } from "../vendor/preact-hooks.js";
import { Icon, IconButton } from "./icons.js";

export function Banners() {
  const server = useStore((state) => state.server);
  const changed = useStore((state) => state.changed);
  const offline = useStore((state) => state.offline);
  const locked = useStore((state) => state.locked);
  const fault = changed.find((each) => !each.path);
  const [hidden, setHidden] = useState(false);
  const [read, setRead] = useState(false);
  return html`<div class="banners">
    ${locked && html`<div class="banner doubt" role="alert"><${Icon} name="shield" />
      <p>${t("The server no longer accepts the key of this browser.")}</p>
      <button type="button" class="small" onClick=${() => location.reload()}>${t("Sign in")}</button></div>`}
    ${offline && html`<div class="banner doubt" role="status"><span class="spinner"></span><p>${t("The connection to the server is lost. Trying again.")}</p></div>`}
    ${fault && html`<div class="banner doubt" role="alert"><${Icon} name="warn" />
      <p><strong>${t("The changed folder cannot be opened.")}</strong> ${fault.what}</p></div>`}
    ${changed.length > 0 && !fault && html`<div class="banner doubt" role="status"><${Icon} name="shield" />
      <p><strong>${t("Changed tools wait for trust.")}</strong> ${changed.map((each) => each.path).join(", ")}. ${t("They are not run until you check them with")} <code>agentkit trust</code>.</p></div>`}
    ${server?.extractive && !hidden && html`<div class="banner" role="status"><${Icon} name="model" />
      <p>${code(t("No language model is set up, so answers quote the documents. Add one: run `ollama pull qwen3:4b`, or start with `agentkit serve --model openai:NAME`."))}</p>
      <${IconButton} icon="close" size=${16} label=${t("Dismiss")} onClick=${() => setHidden(true)} /></div>`}
    ${server?.notices?.length > 0 && !read && html`<div class="banner" role="status"><${Icon} name="warn" />
      <div class="grow">${server.notices.map((notice) => html`<p key=${notice}>${code(notice)}</p>`)}</div>
      <${IconButton} icon="close" size=${16} label=${t("Dismiss")} onClick=${() => setRead(true)} /></div>`}
  </div>`;
}

/** A text with `code` in backticks. */
const code = (text) => text.split("`").map((part, index) => (index % 2 ? html`<code>${part}</code>` : part));

export function NoticeList() {
  const { notices } = useApp();
  const shown = useStore((state) => state.notices);
  return html`<div class="notices">${shown.map((notice) => html`<div key=${notice.id} class=${classes("notice", notice.kind)}
    role=${notice.kind === "error" ? "alert" : "status"}>
    <${Icon} name=${notice.kind === "error" ? "warn" : "check"} size=${16} />
    <p>${notice.text}${notice.next && html`<small>${notice.next}</small>`}</p>
    <${IconButton} icon="close" size=${14} label=${t("Dismiss")} onClick=${() => notices.remove(notice.id)} />
  </div>`)}</div>`;
}
