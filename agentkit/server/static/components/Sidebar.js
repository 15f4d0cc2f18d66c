// The sidebar: new conversation, documents, search, and the sessions by date.

import { html, classes } from "../html.js";
import { dateGroup, formatDate, formatNumber, t } from "../i18n.js";
import { useApp, useStore } from "../store.js";
import { useEffect, useRef, useState } from "../vendor/preact-hooks.js";
import { Icon, IconButton, Logo } from "./icons.js";
import { Menu } from "./Menu.js";

export function Sidebar({ navigate }) {
  const { store, conversation } = useApp();
  const open = useStore((state) => state.menu);
  const server = useStore((state) => state.server);
  const count = useStore((state) => state.documents.filter((each) => each.state === "indexed").length || (state.server?.documents?.count ?? 0));
  const panel = useStore((state) => state.panel?.kind);
  const close = () => store.set({ menu: false });
  const show = (kind) => {
    store.set((state) => ({ panel: state.panel?.kind === kind ? null : { kind }, menu: false }));
  };
  return html`
    <div class=${classes("scrim", open && "visible")} onClick=${close}></div>
    <nav class=${classes("sidebar", open && "open")} aria-label=${t("Conversations")} id="sidebar">
      <header class="sidebar-head">
        <a class="brand" href="#/" onClick=${close}><${Logo} /><span>${server?.name || "agentkit"}</span></a>
        <span class="only-narrow"><${IconButton} icon="close" label=${t("Close menu")} onClick=${close} /></span>
      </header>
      <div class="sidebar-actions">
        <a class="nav-item primary" href="#/" onClick=${() => { conversation.begin(); close(); }}>
          <${Icon} name="plus" /><span>${t("New conversation")}</span>
        </a>
        <button type="button" class="nav-item" aria-pressed=${panel === "documents"} onClick=${() => show("documents")}>
          <${Icon} name="documents" /><span>${t("Documents")}</span>
          ${count > 0 && html`<span class="count">${formatNumber(count)}</span>`}
        </button>
        <button type="button" class="nav-item" aria-pressed=${panel === "search"} onClick=${() => show("search")}>
          <${Icon} name="search" /><span>${t("Search passages")}</span>
        </button>
      </div>
      <${Sessions} navigate=${navigate} />
      <footer class="sidebar-foot">
        <button type="button" class="nav-item" aria-pressed=${panel === "settings"} onClick=${() => show("settings")}>
          <${Icon} name="settings" /><span>${t("Settings")}</span>
        </button>
        ${server && html`<span class="version">${server.version}</span>`}
      </footer>
    </nav>`;
}

function Sessions({ navigate }) {
  const { conversation, notices } = useApp();
  // One whose first question was refused is empty.
  const sessions = useStore((state) => state.sessions).filter((session) => session.turns > 0 || session.running);
  const more = useStore((state) => state.sessionsMore);
  const query = useStore((state) => state.sessionQuery);
  const current = useStore((state) => state.session?.id);
  const timer = useRef();
  const onInput = (event) => {
    clearTimeout(timer.current);
    const text = event.target.value;
    timer.current = setTimeout(() => conversation.search(text).catch((error) => notices.error(error)), 180);
  };
  let group = null;
  return html`
    <div class="session-search field-icon">
      <${Icon} name="search" size=${16} />
      <input type="search" id="session-search" placeholder=${t("Find a conversation")} aria-label=${t("Find a conversation")}
        autocomplete="off" onInput=${onInput} />
    </div>
    <div class="sessions">
      ${sessions.length === 0 && html`<p class="hint">${query ? t("No conversation matches.") : t("Conversations appear here.")}</p>`}
      ${sessions.map((session) => {
        const name = dateGroup(session.updated);
        const heading = name !== group && !query ? html`<h2 class="group" key=${name}>${t(name)}</h2>` : null;
        group = name;
        return [heading, html`<${Session} key=${session.id} session=${session} current=${session.id === current} navigate=${navigate} />`];
      })}
      ${more && html`<button type="button" class="text-button" onClick=${() => conversation.list({ more: true })}>${t("Show more")}</button>`}
    </div>`;
}

function Session({ session, current, navigate }) {
  const { store, conversation, notices } = useApp();
  const [mode, setMode] = useState("show");
  const input = useRef();
  const attempt = (action) => action.catch((error) => notices.error(error));
  useEffect(() => {
    if (mode !== "show") input.current?.focus();
    if (mode === "rename") input.current?.select();
  }, [mode]);

  if (mode === "rename") {
    const save = () => {
      // The field loses the focus once more when it goes.
      if (!input.current) return;
      const title = input.current.value;
      input.current = null;
      setMode("show");
      if (title !== session.title) attempt(conversation.rename(session.id, title));
    };
    return html`<form class="session editing" onSubmit=${(event) => { event.preventDefault(); save(); }}>
      <input ref=${input} value=${session.title} aria-label=${t("Title")} maxlength="200" onBlur=${save}
        onKeyDown=${(event) => event.key === "Escape" && (event.stopPropagation(), setMode("show"))} />
    </form>`;
  }
  if (mode === "delete") {
    return html`<div class="session confirming" role="group" aria-label=${t("Delete this conversation?")}
      onKeyDown=${(event) => event.key === "Escape" && (event.stopPropagation(), setMode("show"))}>
      <span>${t("Delete?")}</span>
      <button type="button" class="small danger" onClick=${() => attempt(conversation.remove(session.id))}>${t("Delete")}</button>
      <button type="button" class="small" ref=${input} onClick=${() => setMode("show")}>${t("Keep")}</button>
    </div>`;
  }
  const items = [
    { id: "rename", icon: "edit", label: t("Rename"), onSelect: () => setTimeout(() => setMode("rename")) },
    { id: "delete", icon: "trash", label: t("Delete"), danger: true, onSelect: () => setTimeout(() => setMode("delete")) },
  ];
  return html`<div class=${classes("session", current && "current")}>
    <a href=${`#/chat/${session.id}`} aria-current=${current ? "page" : undefined} onClick=${() => store.set({ menu: false })}
      title=${`${session.title} · ${formatDate(session.updated)}`}>
      <span class="session-text"><span class="session-title">${session.title || t("Untitled")}</span>
        ${session.excerpt && html`<small>${session.excerpt}</small>`}</span>
      ${session.running && html`<span class="pulse" role="img" aria-label=${t("Answering")}></span>`}
    </a>
    <${Menu} className="session-menu" align="end" label=${t("Actions for {title}", { title: session.title || t("Untitled") })} items=${items}>
      <${Icon} name="more" size=${18} />
    </${Menu}>
  </div>`;
}
