// The page: sidebar, conversation, side panel; keyboard shortcuts and files dropped anywhere.

import { html, classes } from "../html.js";
import { t } from "../i18n.js";
import { useApp, useStore } from "../store.js";
import { isOpen } from "../turns.js";
import { useEffect, useLayoutEffect, useRef, useState } from "../vendor/preact-hooks.js";
import { Banners, NoticeList } from "./Banners.js";
import { Composer, hasRole } from "./Composer.js";
import { Icon, IconButton } from "./icons.js";
import { Menu } from "./Menu.js";
import { Panel } from "./Panel.js";
import { Sidebar } from "./Sidebar.js";
import { Turn } from "./Turn.js";
import { Welcome } from "./Welcome.js";

const NEAR_END = 90;

export function App() {
  const { navigate } = useApp();
  const panel = useStore((state) => state.panel !== null);
  const wide = useStore((state) => state.panel?.kind === "passage");
  useStore((state) => state.language); // Everything is drawn anew in another language.
  useShortcuts();
  return html`
    <a class="skip-link" href="#question" onClick=${focusQuestion}>${t("Skip to the question box")}</a>
    <div class=${classes("layout", panel && "with-panel", wide && "wide-panel")}>
      <${Sidebar} navigate=${navigate} />
      <main class="main">
        <${Header} />
        <${Banners} />
        <${Thread} />
        <div class="dock"><${Composer} /><p class="fine-print">${t("Check important claims in their sources.")}</p></div>
      </main>
      <${Panel} />
    </div>
    <${DropTarget} />
    <${NoticeList} />
    <${LiveRegion} />`;
}

function focusQuestion(event) {
  event?.preventDefault();
  document.getElementById("question")?.focus();
}

function Header() {
  const { store, conversation, notices } = useApp();
  const session = useStore((state) => state.session);
  const save = (format) => () => conversation.export(format).catch((error) => notices.error(error));
  const items = [
    { id: "md", icon: "download", label: t("Export as Markdown"), onSelect: save("md") },
    { id: "json", icon: "download", label: t("Export as JSON"), onSelect: save("json") },
  ];
  return html`<header class="topbar">
    <span class="only-narrow"><${IconButton} icon="menu" label=${t("Open menu")} aria-controls="sidebar" onClick=${() => store.set({ menu: true })} /></span>
    ${session?.id ? html`<h1 class="title">${session.title || t("Untitled")}</h1>` : html`<p class="title">${t("New conversation")}</p>`}
    ${session?.id && html`<${Menu} className="session-menu shown" align="end" label=${t("Export")} items=${items}><${Icon} name="download" /></${Menu}>`}
  </header>`;
}

function Thread() {
  const session = useStore((state) => state.session);
  const loading = useStore((state) => state.loading);
  const turns = session?.turns ?? [];
  const last = turns.at(-1);
  const busy = Boolean(last && isOpen(last));
  const root = useRef();
  const [away, setAway] = useState(false);
  const follows = useRef(true);
  const top = useRef(0);

  const toEnd = () => root.current.scrollTo({ top: root.current.scrollHeight });
  // A new question and a growing answer stay in view, until the reader scrolls up. A conversation
  // that is opened shows its last turn from the question on.
  useLayoutEffect(() => {
    follows.current = busy;
    if (busy) toEnd();
    else root.current.querySelector(".turn:last-of-type")?.scrollIntoView({ block: "start" });
  }, [session?.id, turns.length]);
  useLayoutEffect(() => {
    // The last piece of an answer and what is below it come at once with its end.
    if (!busy && follows.current) toEnd();
    const resized = new ResizeObserver(() => busy && follows.current && toEnd());
    resized.observe(root.current.firstElementChild);
    return () => resized.disconnect();
  }, [busy]);
  const onScroll = () => {
    const { scrollTop, scrollHeight, clientHeight } = root.current;
    const isNear = scrollHeight - scrollTop - clientHeight < NEAR_END;
    // The end also goes away as an answer grows; only a reader goes up.
    if (isNear || scrollTop < top.current) follows.current = isNear;
    top.current = scrollTop;
    setAway(!isNear && !(busy && follows.current));
  };
  return html`<div class="thread" ref=${root} onScroll=${onScroll} tabindex="-1">
    <div class="thread-inner">
      ${loading && html`<div class="skeleton" aria-busy="true"></div><div class="skeleton tall"></div>`}
      ${!loading && turns.length === 0 && html`<${Welcome} />`}
      ${turns.map((turn, index) => html`<${Turn} key=${`${session.id ?? "new"} ${index}`} turn=${turn} last=${index === turns.length - 1} busy=${busy} />`)}
    </div>
    ${away && html`<button type="button" class="to-end" aria-label=${t("To the end")} title=${t("To the end")} onClick=${toEnd}><${Icon} name="down" /></button>`}
  </div>`;
}

function useShortcuts() {
  const { store, conversation, navigate } = useApp();
  useEffect(() => {
    const toggle = (kind) => store.set((state) => ({ panel: state.panel?.kind === kind ? null : { kind } }));
    const alt = { KeyN: () => { conversation.begin(); navigate(""); focusQuestion(); }, KeyD: () => toggle("documents"), KeyF: () => toggle("search") };
    const onKeyDown = (event) => {
      const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
      if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
        focusQuestion(event);
      } else if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
        event.preventDefault();
        store.set({ menu: true });
        setTimeout(() => document.getElementById("session-search")?.focus());
      } else if (event.altKey && alt[event.code] && !event.ctrlKey) {
        event.preventDefault();
        alt[event.code]();
      } else if (event.key === "Escape") {
        escape();
      }
    };
    const escape = () => {
      const { menu, panel } = store.get();
      if (menu) store.set({ menu: false });
      else if (panel) store.set({ panel: null });
      else if (conversation.isAnswering()) conversation.stop();
    };
    document.addEventListener("keydown", onKeyDown);
    return () => document.removeEventListener("keydown", onKeyDown);
  }, []);
}

/** Covers the page while files are dragged over it: drop them on the question or on the documents. */
function DropTarget() {
  const { attachments, library } = useApp();
  const canUpload = useStore((state) => hasRole(state, "documents"));
  const [over, setOver] = useState(null); // the zone below the pointer
  useEffect(() => {
    const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
    const zoneOf = (event) => (canUpload && event.clientX > window.innerWidth / 2 ? "documents" : "question");
    const handlers = {
      dragover: (event) => {
        if (!hasFiles(event)) return;
        event.preventDefault();
        setOver(zoneOf(event));
      },
      dragleave: (event) => event.relatedTarget === null && setOver(null),
      drop: (event) => {
        if (!hasFiles(event)) return;
        event.preventDefault();
        setOver(null);
        if (zoneOf(event) === "documents") {
          library.upload(event.dataTransfer.files);
        } else {
          attachments.add(event.dataTransfer.files);
          focusQuestion();
        }
      },
    };
    for (const [name, handler] of Object.entries(handlers)) window.addEventListener(name, handler);
    return () => Object.entries(handlers).forEach(([name, handler]) => window.removeEventListener(name, handler));
  }, [canUpload]);
  const zone = (name, icon, title, text) => html`<div class=${classes(over === name && "over")}>
    <${Icon} name=${icon} size=${32} /><strong>${title}</strong><span>${text}</span></div>`;
  return over && html`<div class="drop-target">
    ${zone("question", "attach", t("Attach to the question"), t("For this conversation only"))}
    ${canUpload && zone("documents", "documents", t("Add to the documents"), t("Searched for every question"))}
  </div>`;
}

function LiveRegion() {
  const text = useStore((state) => state.announcement);
  return html`<div class="visually-hidden" aria-live="polite" role="status">${text}</div>`;
}
