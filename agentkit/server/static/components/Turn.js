// One turn of a conversation: the question, tool calls, the answer, its evidence, and what to do next.

import { reasonOf } from "../api.js";
import { html, classes } from "../html.js";
import { message, t } from "../i18n.js";
import { copyText } from "../markdown.js";
import { useApp, useStore } from "../store.js";
import { isOpen, support } from "../turns.js";
import { useRef, useEffect, useState } from "../vendor/preact-hooks.js";
import { Answer } from "./Answer.js";
import { Evidence } from "./Evidence.js";
import { Icon, IconButton } from "./icons.js";
import { ToolCalls } from "./ToolCalls.js";

const LONG = 1200; // characters of a question that is scrolled
const LONG_LINES = 20;

export function Turn({ turn, last, busy }) {
  const open = isOpen(turn);
  const [editing, setEditing] = useState(false);
  return html`<article class="turn" aria-label=${t("Turn {n}", { n: turn.index + 1 })} aria-busy=${open}>
    ${editing
      ? html`<${Editor} turn=${turn} onClose=${() => setEditing(false)} />`
      : html`<${Question} turn=${turn} busy=${busy} onEdit=${() => setEditing(true)} />`}
    <div class="reply">
      ${turn.reasoning && html`<${Reasoning} turn=${turn} />`}
      <${ToolCalls} turn=${turn} />
      ${turn.text && html`<${Answer} turn=${turn} />`}
      ${open && !turn.text && turn.state !== "paused" && html`<${Waiting} turn=${turn} />`}
      <${Ending} turn=${turn} />
      ${!open && html`<${Verdict} turn=${turn} />`}
      <${Evidence} turn=${turn} />
      ${!open && html`<${Actions} turn=${turn} last=${last} busy=${busy} />`}
    </div>
  </article>`;
}

function Question({ turn, busy, onEdit }) {
  const isLong = turn.question.length > LONG || turn.question.split("\n").length > LONG_LINES;
  return html`<div class="question-row">
    <div class="question-actions">
      <${IconButton} icon="copy" size=${16} label=${t("Copy question")} onClick=${() => copyText(turn.question)} />
      ${!busy && html`<${IconButton} icon="edit" size=${16} label=${t("Edit question")} onClick=${onEdit} />`}
    </div>
    <div class="question">
      <h2 class=${isLong && "long"} tabindex=${isLong ? 0 : undefined}>${turn.question}</h2>
      <${Images} turn=${turn} />
      ${turn.attachments?.length > 0 && html`<p class="attachments">${turn.attachments.map((name) => html`<span key=${name}><${Icon} name="attach" size=${14} />${name}</span>`)}</p>`}
    </div>
  </div>`;
}

function Images({ turn }) {
  const { api } = useApp();
  const session = useStore((state) => state.session?.id);
  if (!turn.images || !session) return null;
  return html`<p class="question-images">${Array.from({ length: turn.images }, (_, number) => {
    const url = `${api.base}sessions/${encodeURIComponent(session)}/turns/${turn.index}/images/${number}`;
    return html`<a key=${url} href=${url} target="_blank" rel="noreferrer"><img src=${url} alt=${t("Attached image {n}", { n: number + 1 })} /></a>`;
  })}</p>`;
}

function Editor({ turn, onClose }) {
  const { conversation } = useApp();
  const area = useRef();
  useEffect(() => {
    area.current.focus();
    area.current.setSelectionRange(turn.question.length, turn.question.length);
  }, []);
  const send = (event) => {
    event?.preventDefault();
    onClose();
    conversation.ask(area.current.value, { replace: turn.index });
  };
  const onKeyDown = (event) => {
    if (event.key === "Escape") {
      event.stopPropagation();
      onClose();
    } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing && event.keyCode !== 229) {
      send(event);
    }
  };
  return html`<form class="question-editor" onSubmit=${send}>
    <textarea ref=${area} rows="3" aria-label=${t("Edit question")} defaultValue=${turn.question} onKeyDown=${onKeyDown}></textarea>
    <div class="row">
      <span class="hint grow">${t("Later turns are kept in a branch.")}</span>
      <button type="button" class="button" onClick=${onClose}>${t("Cancel")}</button>
      <button type="submit" class="button primary">${t("Ask again")}</button>
    </div>
  </form>`;
}

function Reasoning({ turn }) {
  const thinking = isOpen(turn) && !turn.text;
  return html`<details class="reasoning">
    <summary><${Icon} name="right" size=${14} />${thinking ? t("Thinking") : t("Reasoning")}${thinking && html`<${Dots} />`}</summary>
    <p>${turn.reasoning}</p>
  </details>`;
}

const Dots = () => html`<span class="dots" aria-hidden="true"><i></i><i></i><i></i></span>`;

function Waiting({ turn }) {
  const busy = turn.tools.some((call) => call.state === "running");
  if (busy) return null;
  return html`<p class="waiting">${turn.passages.length ? t("Reading the passages") : t("Looking for an answer")}<${Dots} /></p>`;
}

function Ending({ turn }) {
  if (turn.state === "failed") {
    return html`<div class="callout danger" role="alert">
      <${Icon} name="warn" /><div><strong>${turn.error ? reasonOf(turn.error) : t("The answer failed.")}</strong>
      ${turn.error?.next && html`<p>${turn.error.next}</p>`}</div>
    </div>`;
  }
  if (turn.state === "stopped") {
    return html`<p class="ending"><${Icon} name="stop" size=${14} />${t("Stopped. What was written is kept.")}</p>`;
  }
  if (turn.stop_reason && LIMITS[turn.stop_reason]) {
    return html`<p class="ending"><${Icon} name="warn" size=${14} />${t(LIMITS[turn.stop_reason])}</p>`;
  }
  return null;
}

const LIMITS = {
  length: message("The answer ends here because the model reached its output limit."),
  limit: message("The answer ends here because the agent reached a limit."),
};

/** Whether the passages support the answer, and why a sentence is not. */
function Verdict({ turn }) {
  const { checked, unsupported } = support(turn);
  if (!checked) return null;
  if (!unsupported.length) {
    return html`<p class="verdict good"><${Icon} name="check" size=${16} />
      ${t(checked === 1 ? "The sentence is supported by the passages." : "All {n} sentences are supported by the passages.", { n: checked })}</p>`;
  }
  const counts = { n: unsupported.length, all: checked };
  return html`<details class="verdict doubt">
    <summary><${Icon} name="warn" size=${16} />${t(counts.n === 1 ? "{n} of {all} sentences is not supported by the passages" : "{n} of {all} sentences are not supported by the passages", counts)}<${Icon} name="down" size=${14} /></summary>
    <ul>${unsupported.map((sentence) => html`<li key=${sentence.start}>
      <q>${plain(turn.text, sentence)}</q><span>${sentence.reason || t("No passage says this.")}</span></li>`)}</ul>
  </details>`;
}

const plain = (text, { start, end }) => Array.from(text).slice(start, end).join("").replace(/\[\d+\]|[*_`#]/g, "").trim();

function Actions({ turn, last, busy }) {
  const { conversation, notices } = useApp();
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    await copyText(turn.text);
    setCopied(true);
    setTimeout(() => setCopied(false), 1500);
  };
  const facts = [
    turn.model,
    turn.seconds != null && t("{n} s", { n: turn.seconds < 10 ? turn.seconds.toFixed(1) : Math.round(turn.seconds) }),
    turn.usage?.output_tokens ? t("{n} tokens", { n: turn.usage.input_tokens + turn.usage.output_tokens }) : null,
  ].filter(Boolean);
  return html`<div class=${classes("turn-actions", last && "last")}>
    <${IconButton} icon=${copied ? "check" : "copy"} size=${16} label=${copied ? t("Copied") : t("Copy answer")} onClick=${copy} />
    ${!busy && html`
      <${IconButton} icon="retry" size=${16} label=${t("Ask again")} onClick=${() => conversation.retry(turn.index)} />
      <${IconButton} icon="branch" size=${16} label=${t("Branch from here")}
        onClick=${() => conversation.fork(turn.index).catch((error) => notices.error(error))} />`}
    <span class="facts">${facts.join(" · ")}</span>
  </div>`;
}
