// The tool calls of a turn while they run and afterwards, each with its arguments and result.

import { visible } from "../hidden.js";
import { html, classes } from "../html.js";
import { message, t } from "../i18n.js";
import { useState } from "../vendor/preact-hooks.js";
import { Approval } from "./Approval.js";
import { Icon } from "./icons.js";

const LONGEST = 6000;

export function ToolCalls({ turn }) {
  if (!turn.tools?.length) return null;
  return html`<ul class="calls" aria-label=${t("Tool calls")}>
    ${turn.tools.map((call) => html`<li key=${call.id} class=${classes(call.id.includes("/") && "nested")}>
      ${call.state === "waiting" ? html`<${Approval} call=${call} run=${turn.run} />` : html`<${Call} call=${call} />`}
    </li>`)}
  </ul>`;
}

const STATES = { running: message("running"), done: message("done"), failed: message("failed"), denied: message("denied") };

function Call({ call }) {
  const [open, setOpen] = useState(false);
  const subject = subjectOf(call.arguments);
  const detail = `call-${call.id}`;
  return html`<div class=${classes("call", call.state)}>
    <button type="button" class="call-head" aria-expanded=${open} aria-controls=${open ? detail : undefined} onClick=${() => setOpen(!open)}>
      <span class="call-state" role="img" aria-label=${t(STATES[call.state] ?? call.state)}>${stateIcon(call.state)}</span>
      <span class="call-name">${call.name}</span>
      ${(call.progress || subject) && html`<span class="call-subject">${call.progress || subject}</span>`}
      ${call.seconds >= 0.1 && html`<span class="call-time">${t("{n} s", { n: call.seconds.toFixed(1) })}</span>`}
      <${Icon} name=${open ? "down" : "right"} size=${14} />
    </button>
    ${open && html`<div class="call-detail" id=${detail}>
      <h4>${t("Arguments")}</h4>
      <${Arguments} value=${call.arguments} />
      ${call.result && html`<h4>${call.state === "failed" ? t("Error") : t("Result")}</h4>
        <pre tabindex="0">${cut(typeof call.result === "string" ? call.result : JSON.stringify(call.result, null, 2))}</pre>`}
    </div>`}
  </div>`;
}

function stateIcon(state) {
  if (state === "running") return html`<span class="spinner"></span>`;
  const icon = { done: "check", failed: "warn", denied: "close" }[state] ?? "tool";
  return html`<${Icon} name=${icon} size=${14} />`;
}

function Arguments({ value }) {
  if (typeof value === "string") return html`<pre tabindex="0">${cut(visible(value))}</pre>`;
  const entries = Object.entries(value ?? {});
  if (!entries.length) return html`<p class="hint">${t("none")}</p>`;
  return html`<dl class="arguments">${entries.map(([name, each]) => html`<div key=${name}>
    <dt>${visible(name)}</dt><dd>${cut(visible(typeof each === "string" ? each : JSON.stringify(each)))}</dd></div>`)}</dl>`;
}

/** The argument that tells most about a call: its first text. */
function subjectOf(values) {
  if (typeof values === "string") return "";
  const text = Object.values(values ?? {}).find((value) => typeof value === "string" && value.trim());
  return text ? text.replace(/\s+/g, " ").slice(0, 120) : "";
}

const cut = (text) => (text.length > LONGEST ? `${text.slice(0, LONGEST)}\n…` : text);
