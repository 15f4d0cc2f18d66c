// The question box, with files to attach, where to search, the model, and the stop button.

import { html, classes } from "../html.js";
import { t } from "../i18n.js";
import { folders } from "../library.js";
import { useApp, useStore } from "../store.js";
import { isOpen } from "../turns.js";
import { useEffect, useLayoutEffect, useRef, useState } from "../vendor/preact-hooks.js";
import { Icon } from "./icons.js";
import { Menu } from "./Menu.js";

const TALLEST = 220;

export function Composer() {
  const { conversation, attachments } = useApp();
  const session = useStore((state) => state.session?.id ?? null);
  const answering = useStore((state) => {
    const last = state.session?.turns.at(-1);
    return Boolean(last && isOpen(last));
  });
  const attached = useStore((state) => state.attachments);
  const [text, setText] = useState("");
  const area = useRef();
  const files = useRef();

  useEffect(() => area.current?.focus({ preventScroll: true }), [session]);
  useLayoutEffect(() => {
    const { style } = area.current;
    style.height = "auto";
    style.height = `${Math.min(area.current.scrollHeight, TALLEST)}px`;
  }, [text]);

  const send = async () => {
    const question = text;
    if (!question.trim() || answering) return;
    const files = attachments.take();
    setText("");
    if (await conversation.ask(question, { attachments: files })) return;
    setText(question);
    attachments.restore(files);
  };
  const onKeyDown = (event) => {
    // Enter that confirms a word of an input method is not the end of the question.
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing && event.keyCode !== 229) {
      event.preventDefault();
      send();
    }
  };
  const onPaste = (event) => {
    // A copied part of a text document is text, though some programs add an image of it.
    if (event.clipboardData.files.length && !event.clipboardData.types.includes("text/plain")) {
      event.preventDefault();
      attachments.add(event.clipboardData.files);
    }
  };
  return html`<form class="composer" onSubmit=${(event) => { event.preventDefault(); send(); }}>
    <label class="visually-hidden" for="question">${t("Your question")}</label>
    ${attached.length > 0 && html`<ul class="attached" aria-label=${t("Attached files")}>
      ${attached.map((each) => html`<${Attached} key=${each.id} attachment=${each} />`)}</ul>`}
    <textarea id="question" ref=${area} rows="1" value=${text} placeholder=${t("Ask about your documents")}
      onInput=${(event) => setText(event.target.value)} onKeyDown=${onKeyDown} onPaste=${onPaste}></textarea>
    <div class="composer-row">
      <button type="button" class="icon-button" aria-label=${t("Attach files")} title=${t("Attach files")}
        onClick=${() => files.current.click()}><${Icon} name="attach" /></button>
      <input type="file" multiple hidden ref=${files} aria-label=${t("Attach files")}
        onChange=${(event) => { attachments.add(event.target.files); event.target.value = ""; area.current.focus(); }} />
      <${SourcePicker} />
      <${ModelPicker} />
      <span class="grow"></span>
      ${answering
        ? html`<button type="button" class="send stop" aria-label=${t("Stop")} title=${t("Stop")} onClick=${() => conversation.stop()}>
            <${Icon} name="stop" /></button>`
        : html`<button type="submit" class=${classes("send", text.trim() && "ready")} aria-label=${t("Send")} title=${t("Send")}
            disabled=${!text.trim()}><${Icon} name="send" /></button>`}
    </div>
  </form>`;
}

function Attached({ attachment: { id, name, preview } }) {
  const { attachments } = useApp();
  const label = t("Remove {name}", { name });
  return html`<li class=${classes("attachment", preview && "image")} title=${name}>
    ${preview ? html`<img src=${preview} alt=${name} />` : html`<${Icon} name="documents" size=${16} /><span>${name}</span>`}
    <button type="button" class="remove" aria-label=${label} onClick=${() => attachments.remove(id)}><${Icon} name="close" size=${12} /></button>
  </li>`;
}

export const hasRole = (state, role) => !state.server || (state.server.identity?.roles ?? []).includes(role);

function ModelPicker() {
  const { store } = useApp();
  const server = useStore((state) => state.server);
  const models = server?.models ?? [];
  const chosen = useStore((state) => state.model) ?? models[0]?.id;
  if (models.length < 2) return null;
  const label = models.find((model) => model.id === chosen)?.label ?? chosen;
  const items = models.map((model) => ({
    id: model.id, label: model.label ?? model.id, note: model.label && model.label !== model.id ? model.id : null,
    checked: model.id === chosen, onSelect: () => store.set({ model: model.id }),
  }));
  return html`<${Menu} className="picker up" label=${t("Model: {name}", { name: label })} items=${items}>
    <${Icon} name="model" size=${16} /><span class="picker-text">${label}</span><${Icon} name="down" size=${14} />
  </${Menu}>`;
}

function SourcePicker() {
  const { store } = useApp();
  const documents = useStore((state) => state.documents);
  const sources = useStore((state) => state.sources);
  const choices = folders(documents).map(({ path, count }) => ({ path, glob: `${path}**`, count }));
  if (documents.length < 2) return null;
  const toggle = (path) => () => store.set((state) => ({
    sources: state.sources.includes(path) ? state.sources.filter((each) => each !== path) : [...state.sources, path],
  }));
  const names = { all: t("All documents"), some: t("{n} selected", { n: sources.length }) };
  const label = sources.length === 0 ? names.all : sources.length === 1 ? sources[0].replace(/\*\*$/, "") : names.some;
  const files = documents.filter((each) => each.state === "indexed");
  const items = [
    { id: "", label: names.all, icon: "documents", checked: sources.length === 0, onSelect: () => store.set({ sources: [] }) },
    ...choices.map(({ path, glob, count }) => ({
      id: glob, label: path, icon: "folder", note: t(count === 1 ? "{n} document" : "{n} documents", { n: count }),
      checked: sources.includes(glob), onSelect: toggle(glob),
    })),
    ...files.map((each) => ({
      id: each.source, label: each.title || each.source, note: each.title ? each.source : null,
      checked: sources.includes(each.source), onSelect: toggle(each.source),
    })),
  ];
  return html`<${Menu} className="picker up" multiple label=${t("Search in: {name}", { name: label })} items=${items}>
    <${Icon} name="folder" size=${16} /><span class="picker-text">${label}</span><${Icon} name="down" size=${14} />
  </${Menu}>`;
}
