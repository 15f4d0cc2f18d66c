// Starts the page: makes its parts, follows the address and the server's events, draws.

import { Api } from "./api.js";
import { Attachments } from "./attachments.js";
import { App } from "./components/App.js";
import { Conversation } from "./conversation.js";
import { html } from "./html.js";
import { Library } from "./library.js";
import { Notices } from "./notices.js";
import { Preferences } from "./preferences.js";
import { AppContext, createStore } from "./store.js";
import { render } from "./vendor/preact.js";

const store = createStore();
const notices = new Notices(store);
const api = new Api({ base: new URL("api/", document.baseURI).href });
const preferences = new Preferences({
  store,
  root: document.documentElement,
  storage: () => localStorage,
  languages: navigator.languages,
});
const conversation = new Conversation({ store, api, notices, navigate });
const attachments = new Attachments({ store, notices });
const library = new Library({ store, api, notices });

let quiet = false;

/** Go to a place of the page; `quiet` changes only the address. */
function navigate(path, options = {}) {
  const hash = `#/${path}`;
  if (location.hash === hash || (!path && !location.hash)) {
    if (!options.quiet) route();
    return;
  }
  quiet = Boolean(options.quiet);
  location.hash = hash;
}

function route() {
  if (quiet) {
    quiet = false;
    return;
  }
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [place, id] = path.split("/").map(decodeURIComponent);
  const values = new URLSearchParams(query);
  if (place === "chat" && id) {
    conversation.open(id);
    return;
  }
  if (place === "documents" && id) {
    const place = (name) => (/^\d+$/.test(values.get(name) ?? "") ? Number(values.get(name)) : null);
    const [start, end] = [place("start"), place("end")];
    store.set({ panel: { kind: "passage", document: id, start, end, marker: null, title: "", turn: null, back: { kind: "documents" } } });
  } else if (place === "documents" || place === "search" || place === "settings") {
    store.set({ panel: { kind: place, query: values.get("q") ?? "" } });
  }
  if (!store.get().session || (!place && store.get().session.id)) conversation.begin();
}

/** Load what the page shows. */
async function start() {
  try {
    const server = await api.get("state");
    store.set({ server, changed: server.changed ?? [], locked: false, offline: false });
    document.title = server.name ? `${server.name} · agentkit` : "agentkit";
  } catch (error) {
    store.set({ loading: false });
    notices.error(error);
    return;
  }
  route();
  conversation.list().catch((error) => notices.error(error));
  library.list().catch((error) => notices.error(error));
  watch();
}

let watching = null;

/** Fetch again what the server says has changed. */
async function watch() {
  watching?.abort();
  const controller = new AbortController();
  watching = controller;
  const refresh = {
    documents: () => library.list(),
    sessions: () => conversation.list(),
    trust: (data) => store.set({ changed: data.changed ?? [] }),
  };
  try {
    const onRetry = () => store.set({ offline: true });
    const onOpen = () => store.set({ offline: false });
    for await (const { event, data } of api.events("events", { signal: controller.signal, onRetry, onOpen })) {
      await Promise.resolve(refresh[event]?.(data)).catch(() => {});
    }
  } catch (error) {
    if (error.status === 401) store.set({ locked: true });
  }
}

window.addEventListener("hashchange", route);
const app = { store, api, notices, preferences, conversation, attachments, library, navigate };
render(html`<${AppContext.Provider} value=${app}><${App} /></${AppContext.Provider}>`, document.getElementById("app"));
start();
