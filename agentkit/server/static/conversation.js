// Sessions and answers: what the page does with them, through the API and the store.

import { ApiError } from "./api.js";
import { encoded } from "./attachments.js";
import { t } from "./i18n.js";
import { applyEvent, isOpen, newTurn, passagesOf, restarted, support } from "./turns.js";

const PAGE = 50;
const BUSY_TRIES = 8;
const BUSY_MS = 250;
const RUN_EVENTS = new Set(["text", "reasoning", "tool", "passages", "turn", "error", "done"]);

export class Conversation {
  /** @param {{store, api, notices, navigate: (path: string) => void}} parts */
  constructor({ store, api, notices, navigate }) {
    Object.assign(this, { store, api, notices, navigate });
    this.followed = null; // {run, controller} of the answer that is read
    this.opened = 0;
  }

  // Sessions

  async list({ more = false } = {}) {
    const { sessions, sessionQuery } = this.store.get();
    const offset = more ? sessions.length : 0;
    const limit = more ? PAGE : Math.max(PAGE, sessions.length);
    const found = await this.api.get("sessions", { q: sessionQuery, limit, offset });
    if (this.store.get().sessionQuery !== sessionQuery) return;
    const known = new Set(sessions.map((session) => session.id));
    const listed = more ? [...sessions, ...found.sessions.filter((s) => !known.has(s.id))] : found.sessions;
    this.store.set({ sessions: listed, sessionsMore: found.sessions.length === limit });
    await this.catchUp(found.sessions);
  }

  /** Show what was asked in the open session elsewhere, such as in another tab. */
  async catchUp(sessions) {
    const { session } = this.store.get();
    const known = sessions.find((each) => each.id === session?.id);
    const isBehind = known && (known.running || known.turns > session.turns.length);
    if (!isBehind || this.isAnswering()) return;
    const opened = this.opened;
    const found = await this.api.get(`sessions/${encodeURIComponent(session.id)}`);
    if (opened !== this.opened || this.isAnswering() || found.turns.length <= session.turns.length) return;
    this.store.set({ session: found });
    this.followLast(found);
  }

  /** Read the answer that is being written in a session. */
  followLast({ turns }) {
    const last = turns.at(-1);
    if (last && isOpen(last) && last.run) this.follow(last.run);
  }

  search(query) {
    this.store.set({ sessionQuery: query });
    return this.list();
  }

  /** Show an empty conversation; the session is created with its first question. */
  begin() {
    this.leave();
    this.store.set({ session: { id: null, title: "", turns: [] }, loading: false, menu: false });
  }

  async open(id) {
    if (this.store.get().session?.id === id) return;
    this.leave();
    const opened = this.opened;
    this.store.set({ loading: true, menu: false, session: null });
    try {
      const session = await this.api.get(`sessions/${encodeURIComponent(id)}`);
      if (opened !== this.opened) return;
      this.store.set({ session, loading: false });
      this.followLast(session);
    } catch (error) {
      if (opened !== this.opened) return;
      this.store.set({ loading: false });
      this.notices.error(error);
      this.navigate("");
    }
  }

  /** Stop reading the current answer, which goes on at the server. */
  leave() {
    this.opened += 1;
    this.followed?.controller.abort();
    this.followed = null;
  }

  async rename(id, title) {
    const name = title.trim();
    if (!name) return;
    await this.api.patch(`sessions/${encodeURIComponent(id)}`, { title: name });
    this.store.set((state) => ({
      sessions: state.sessions.map((each) => (each.id === id ? { ...each, title: name } : each)),
      session: state.session?.id === id ? { ...state.session, title: name } : state.session,
    }));
  }

  async remove(id) {
    await this.api.delete(`sessions/${encodeURIComponent(id)}`);
    this.store.set((state) => ({ sessions: state.sessions.filter((each) => each.id !== id) }));
    if (this.store.get().session?.id === id) this.navigate("");
  }

  /** Continue from a turn in a new session; the old one stays as it is. */
  async fork(index) {
    const { session } = this.store.get();
    const { id } = await this.api.post(`sessions/${encodeURIComponent(session.id)}/fork`, { turn: index });
    this.list().catch(() => {});
    this.navigate(`chat/${id}`);
    this.notices.info(t("Branched into a new conversation."));
  }

  async export(format) {
    const { session } = this.store.get();
    const file = await this.api.blob(`sessions/${encodeURIComponent(session.id)}/export`, { format });
    download(file, `${(session.title || "conversation").slice(0, 60).replace(/[^\p{L}\p{N}]+/gu, "-")}.${format}`);
  }

  // Answers

  /**
   * Ask a question with files; `replace` is the index of the turn that it takes the place of, whose
   * files it keeps.
   */
  async ask(question, { replace = null, attachments = [] } = {}) {
    const text = question.trim();
    if (!text || this.isAnswering()) return false;
    const { session, model, sources } = this.store.get();
    const before = session?.turns ?? [];
    const kept = replace === null ? before : before.slice(0, replace);
    const { images = 0, attachments: names = [] } = before[replace] ?? {};
    const files = attachments.filter((each) => !each.preview).map((each) => each.name);
    const asked = { ...newTurn(text, replace ?? before.length), images, attachments: replace === null ? files : names };
    this.store.set({ session: { ...(session ?? { id: null, title: "" }), turns: [...kept, asked] } });
    const opened = this.opened;
    // What the run before still sends is not about this turn.
    this.followed?.controller.abort();
    this.followed = null;
    try {
      const id = session?.id ?? (await this.create(text, opened));
      const body = { question: text };
      if (model) body.model = model;
      if (sources.length) body.sources = sources;
      if (replace !== null) body.replace = replace;
      if (attachments.length) body.attachments = await encoded(attachments);
      const { run, fork } = await this.start(id, body);
      if (opened !== this.opened) return true;
      this.changeLast((turn) => ({ ...turn, run, images: images + attachments.filter((each) => each.preview).length }));
      if (fork) this.notices.info(t("The earlier version is kept as a conversation of its own."));
      this.announce(t("The answer has started."));
      this.follow(run);
      this.list().catch(() => {});
      return true;
    } catch (error) {
      if (opened === this.opened) {
        this.store.set((state) => ({ session: { ...state.session, turns: before } }));
        this.notices.error(error);
      }
      return false;
    }
  }

  /** Make a session for a first question, and show it unless another was opened meanwhile. */
  async create(question, opened) {
    const { id } = await this.api.post("sessions");
    if (opened !== this.opened) return id;
    this.store.set((state) => ({ session: { ...state.session, id, title: question.slice(0, 80) } }));
    this.navigate(`chat/${id}`, { quiet: true });
    return id;
  }

  /**
   * Start an answer. The one before may still be stored when its last event has arrived, and a server
   * that opens its changed folder again takes no question for a moment.
   */
  async start(id, body) {
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.api.post(`sessions/${encodeURIComponent(id)}/turns`, body);
      } catch (error) {
        if (!["session_busy", "stopping"].includes(error.code) || tries === BUSY_TRIES) throw error;
        await this.api.wait(BUSY_MS * tries);
      }
    }
  }

  retry(index) {
    return this.ask(this.store.get().session.turns[index].question, { replace: index });
  }

  isAnswering() {
    const last = this.store.get().session?.turns.at(-1);
    return Boolean(last && isOpen(last));
  }

  async stop() {
    const run = this.store.get().session?.turns.at(-1)?.run;
    if (!run) return;
    try {
      await this.api.post(`runs/${encodeURIComponent(run)}/stop`);
    } catch (error) {
      this.notices.error(error);
    }
  }

  /** Decide a call that waits for approval; resolves to the refusal of changed arguments, or null. */
  async decide(run, call, decision) {
    try {
      await this.api.post(`runs/${encodeURIComponent(run)}/calls/${encodeURIComponent(call)}`, decision);
      return null;
    } catch (error) {
      if (error instanceof ApiError && error.status === 422) return error.message;
      this.notices.error(error);
      return error.message;
    }
  }

  /** Read a run's events into the last turn, from the first, until it is done. */
  async follow(run) {
    this.followed?.controller.abort();
    const controller = new AbortController();
    this.followed = { run, controller };
    const mine = () => this.followed?.controller === controller;
    let begun = false;
    try {
      const path = `runs/${encodeURIComponent(run)}/events`;
      const onRetry = () => mine() && this.store.set({ offline: true });
      for await (const event of this.api.events(path, { signal: controller.signal, onRetry })) {
        if (!mine()) return;
        if (!RUN_EVENTS.has(event.event)) continue;
        this.store.set({ offline: false });
        const start = begun ? (turn) => turn : restarted;
        begun = true;
        this.changeLast((turn) => applyEvent(start(turn), event));
        this.announceEvent(event);
      }
    } catch (error) {
      if (mine()) await this.recover(error);
    }
    if (mine()) {
      this.followed = null;
      this.store.set({ offline: false });
      this.list().catch(() => {});
    }
  }

  /** A run that the server no longer knows is over: show what it stored. */
  async recover(error) {
    const { session } = this.store.get();
    try {
      const stored = await this.api.get(`sessions/${encodeURIComponent(session.id)}`);
      const turns = stored.turns.map((turn) => (isOpen(turn) ? { ...turn, state: "stopped", run: null } : turn));
      this.store.set({ session: { ...stored, turns } });
    } catch {
      this.changeLast((turn) => ({ ...turn, state: "failed", error: { message: error.message, next: error.next } }));
    }
  }

  changeLast(change) {
    this.store.set((state) => {
      const turns = state.session?.turns ?? [];
      if (!turns.length) return null;
      return { session: { ...state.session, turns: [...turns.slice(0, -1), change(turns.at(-1))] } };
    });
  }

  announce(text) {
    this.store.set({ announcement: text });
  }

  announceEvent({ event, data }) {
    if (event === "tool" && data.state === "waiting") {
      this.announce(t("{tool} waits for your approval.", { tool: data.name }));
    } else if (event === "error") {
      this.announce(t("The answer failed: {reason}", { reason: data.message }));
    } else if (event === "turn" && !isOpen(data)) {
      this.announce(summary(data));
    }
  }
}

/** What a screen reader hears when an answer is complete. */
function summary(turn) {
  const cited = passagesOf(turn).filter((passage) => passage.cited).length;
  const { unsupported } = support(turn);
  const said = turn.state === "stopped" ? t("The answer was stopped.") : t("The answer is complete.");
  const parts = [said, t(cited === 1 ? "{n} passage cited." : "{n} passages cited.", { n: cited })];
  if (unsupported.length) {
    const n = unsupported.length;
    parts.push(t(n === 1 ? "{n} sentence is not supported." : "{n} sentences are not supported.", { n }));
  }
  return parts.join(" ");
}

/** Save a blob as a file. */
export function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
