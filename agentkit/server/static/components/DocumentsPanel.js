// The documents: add by drop, file or address; see what was read; read again or delete.

import { html, classes } from "../html.js";
import { message, t } from "../i18n.js";
import { formatBytes } from "../library.js";
import { useApp, useStore } from "../store.js";
import { useRef, useState } from "../vendor/preact-hooks.js";
import { hasRole } from "./Composer.js";
import { Icon, IconButton } from "./icons.js";
import { Menu } from "./Menu.js";

const PAGE = 100;

export function DocumentsPanel() {
  const documents = useStore((state) => state.documents);
  const uploads = useStore((state) => state.uploads);
  const canChange = useStore((state) => hasRole(state, "documents"));
  const [filter, setFilter] = useState("");
  const [most, setMost] = useState(PAGE);
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
  const shown = documents.filter((each) => {
    const text = `${each.title ?? ""} ${each.source}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
  const unread = documents.filter((each) => each.state === "unread" || each.state === "failed").length;
  return html`<div class="panel-body">
    ${canChange && html`<${AddDocuments} />`}
    ${uploads.length > 0 && html`<ul class="uploads" aria-label=${t("Uploads")}>${uploads.map((each) => html`<${Upload} key=${each.id} upload=${each} />`)}</ul>`}
    <div class="list-head">
      <div class="field-icon grow"><${Icon} name="search" size=${16} />
        <input type="search" placeholder=${t("Filter documents")} aria-label=${t("Filter documents")}
          onInput=${(event) => setFilter(event.target.value)} /></div>
    </div>
    <p class="hint">${t(documents.length === 1 ? "{n} document" : "{n} documents", { n: documents.length })}
      ${unread > 0 && html` · <span class="warn-text">${t("{n} not read", { n: unread })}</span>`}</p>
    <ul class="documents">${shown.slice(0, most).map((each) => html`<${Document} key=${each.id} document=${each} canChange=${canChange} />`)}</ul>
    ${shown.length > most && html`<button type="button" class="text-button" onClick=${() => setMost(most + PAGE)}>${t("Show more")}</button>`}
    ${documents.length > 0 && shown.length === 0 && html`<p class="empty">${t("Nothing matches.")}</p>`}
    ${documents.length === 0 && html`<p class="empty">${t("No documents yet. Add some to ask about them.")}</p>`}
  </div>`;
}

function AddDocuments() {
  const { library, notices } = useApp();
  const files = useRef();
  const [address, setAddress] = useState(null);
  const add = (event) => {
    event.preventDefault();
    library.addUrl(address.trim()).then(() => setAddress(null), (error) => notices.error(error));
  };
  return html`<div class="add-documents">
    <button type="button" class="drop-zone" data-autofocus onClick=${() => files.current.click()}>
      <${Icon} name="upload" size=${22} />
      <strong>${t("Drop files here or choose them")}</strong>
      <span>${t("PDF, Word, PowerPoint, Excel, Markdown, HTML, code and more")}</span>
    </button>
    <input type="file" multiple hidden ref=${files} aria-label=${t("Add documents")}
      onChange=${(event) => { library.upload(event.target.files); event.target.value = ""; }} />
    ${address === null
      ? html`<button type="button" class="text-button" onClick=${() => setAddress("")}><${Icon} name="link" size=${16} />${t("Add a web page by its address")}</button>`
      : html`<form class="row" onSubmit=${add}>
          <input type="url" class="grow" required placeholder="https://" aria-label=${t("Address of the web page")} value=${address}
            onInput=${(event) => setAddress(event.target.value)} />
          <button type="submit" class="button primary">${t("Add")}</button>
          <${IconButton} icon="close" size=${16} label=${t("Cancel")} onClick=${() => setAddress(null)} />
        </form>`}
  </div>`;
}

function Upload({ upload }) {
  const { library } = useApp();
  const failed = upload.state === "failed";
  return html`<li class=${classes("upload", failed && "failed")}>
    <div class="row"><span class="grow name">${upload.name}</span>
      ${failed
        ? html`<${IconButton} icon="close" size=${14} label=${t("Dismiss")} onClick=${() => library.dismiss(upload.id)} />`
        : html`<span class="hint">${upload.fraction < 1 ? `${Math.round(upload.fraction * 100)} %` : t("checking")}</span>`}</div>
    ${failed
      ? html`<p class="field-error" role="alert">${upload.error}</p>`
      : html`<progress max="1" value=${upload.fraction} aria-label=${t("Upload of {name}", { name: upload.name })}></progress>`}
  </li>`;
}

const STATES = {
  queued: { label: message("waiting"), kind: "busy" },
  reading: { label: message("reading"), kind: "busy" },
  unread: { label: message("not read"), kind: "bad" },
  failed: { label: message("failed"), kind: "bad" },
};

function Document({ document: item, canChange }) {
  const { store, library, notices } = useApp();
  const [confirming, setConfirming] = useState(false);
  const attempt = (action) => action.catch((error) => notices.error(error));
  const state = STATES[item.state];
  const open = () => store.set({
    panel: { kind: "passage", document: item.id, start: null, end: null, marker: null, title: item.title || item.source, turn: null, back: { kind: "documents" } },
  });
  const facts = [
    item.pages && t(item.pages === 1 ? "{n} page" : "{n} pages", { n: item.pages }),
    item.chunks != null && item.state === "indexed" && t(item.chunks === 1 ? "{n} passage" : "{n} passages", { n: item.chunks }),
    item.bytes != null && formatBytes(item.bytes),
  ].filter(Boolean);
  const items = [
    { id: "index", icon: "retry", label: t("Read again"), onSelect: () => attempt(library.reindex(item.id)) },
    { id: "delete", icon: "trash", label: t("Delete"), danger: true, onSelect: () => setTimeout(() => setConfirming(true)) },
  ];
  return html`<li class="document-item">
    <button type="button" class="document-open" disabled=${item.state !== "indexed"} onClick=${open}>
      <${Icon} name="documents" />
      <span class="document-text"><strong>${item.title || item.source}</strong>
        <small class="document-facts">${item.title && html`<span>${item.source}</span>`}<span>${facts.join(" · ")}</span></small>
        ${item.reason && html`<small class="warn-text">${item.reason}</small>`}</span>
      ${state && html`<span class=${classes("badge", state.kind)}>${state.kind === "busy" && html`<span class="spinner"></span>`}${t(state.label)}</span>`}
    </button>
    ${canChange && !confirming && html`<${Menu} className="session-menu" align="end" items=${items}
      label=${t("Actions for {title}", { title: item.title || item.source })}><${Icon} name="more" /></${Menu}>`}
    ${confirming && html`<div class="row confirm" role="group" aria-label=${t("Delete this document?")}>
      <button type="button" class="small danger" onClick=${() => attempt(library.remove(item.id))}>${t("Delete")}</button>
      <button type="button" class="small" onClick=${() => setConfirming(false)}>${t("Keep")}</button></div>`}
  </li>`;
}
