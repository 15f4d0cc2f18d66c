// The page's state: one immutable object, replaced by `set`, read by components through `useStore`.

import { createContext } from "./vendor/preact.js";
import { useContext, useLayoutEffect, useReducer, useRef } from "./vendor/preact-hooks.js";

export const INITIAL = Object.freeze({
  server: null, // GET /api/state
  locked: false, // the server no longer accepts the key of this browser
  offline: false,
  changed: [], // tools and servers that wait for `agentkit trust`
  sessions: [],
  sessionsMore: false,
  sessionQuery: "",
  session: null, // {id, title, turns}; id null until the first question
  loading: true,
  documents: [],
  attachments: [], // {id, name, file, preview} that go with the next question
  uploads: [], // {id, name, fraction, state: sending | failed, error}
  panel: null, // {kind: "passage" | "documents" | "search" | "settings", ...}
  menu: false, // the sidebar as a drawer, on narrow screens
  model: null,
  sources: [],
  language: "en",
  theme: "system",
  notices: [], // {id, text, kind}
  announcement: "",
});

export function createStore(initial = INITIAL) {
  let state = initial;
  const listeners = new Set();
  let scheduled = false;
  const notify = () => {
    scheduled = false;
    for (const listener of [...listeners]) listener();
  };
  return {
    get: () => state,
    /** Replace keys of the state; a function gets the state and gives them. */
    set(patch) {
      const values = typeof patch === "function" ? patch(state) : patch;
      if (!values || Object.keys(values).every((key) => Object.is(values[key], state[key]))) return;
      state = { ...state, ...values };
      if (!scheduled) {
        scheduled = true;
        queueMicrotask(notify);
      }
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/** What components need: `{store, api, conversation, library}`. */
export const AppContext = createContext(null);

export const useApp = () => useContext(AppContext);

/** Read a value of the state and render again when it changes. */
export function useStore(select) {
  const { store } = useApp();
  const [, render] = useReducer((count) => count + 1, 0);
  const current = useRef();
  current.select = select;
  current.value = select(store.get());
  useLayoutEffect(
    () => store.subscribe(() => {
      if (!Object.is(current.select(store.get()), current.value)) render();
    }),
    [store],
  );
  return current.value;
}
