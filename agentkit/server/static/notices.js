// Short messages at the edge of the screen, which a screen reader announces.

import { reasonOf } from "./api.js";

const SECONDS = 7;

export class Notices {
  constructor(store) {
    this.store = store;
    this.last = 0;
  }

  info(text) {
    this.add({ kind: "info", text });
  }

  /** Show an error with its next step; one of a missing key stays until it is given. */
  error(error) {
    if (error.status === 401) {
      this.store.set({ locked: true });
      return;
    }
    this.add({ kind: "error", text: reasonOf(error), next: error.next ?? null });
  }

  /** Show a notice, in place of one that says the same. */
  add(notice) {
    const id = (this.last += 1);
    this.store.set((state) => ({ notices: [...state.notices.filter(({ text }) => text !== notice.text), { ...notice, id }].slice(-4) }));
    setTimeout(() => this.remove(id), SECONDS * 1000 * (notice.kind === "error" ? 2 : 1));
  }

  remove(id) {
    this.store.set((state) => ({ notices: state.notices.filter((notice) => notice.id !== id) }));
  }
}
