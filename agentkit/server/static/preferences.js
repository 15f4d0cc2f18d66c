// What this browser remembers: language, theme and the API key.

import { preferredLanguage, setLanguage } from "./i18n.js";

const LANGUAGE = "agentkit.language";
const THEME = "agentkit.theme";
const KEY = "agentkit.key";

export class Preferences {
  /** `storage` are `{local, session}`, each like Web Storage; `check` tries the key that was set. */
  constructor({ store, root, storage, languages, check }) {
    Object.assign(this, { store, root, storage, check });
    this.apiKey = this.read("session", KEY) ?? this.read("local", KEY);
    const language = this.read("local", LANGUAGE) ?? preferredLanguage(languages);
    this.applyLanguage(language);
    store.set({ theme: this.read("local", THEME) ?? "system" });
  }

  setLanguage(language) {
    this.write("local", LANGUAGE, language);
    this.applyLanguage(language);
  }

  applyLanguage(language) {
    setLanguage(language);
    this.root.lang = language === "zh" ? "zh-Hans" : language;
    this.store.set({ language });
  }

  setTheme(theme) {
    this.write("local", THEME, theme === "system" ? null : theme);
    if (theme === "system") delete this.root.dataset.theme;
    else this.root.dataset.theme = theme;
    this.store.set({ theme });
  }

  hasKey() {
    return Boolean(this.apiKey);
  }

  /** Use a key from now on, if the server accepts it; resolves to whether it does. */
  async useKey(key, remember) {
    const before = this.apiKey;
    this.apiKey = key;
    if (!(await this.check())) {
      this.apiKey = before;
      return false;
    }
    this.write("session", KEY, key);
    this.write("local", KEY, remember ? key : null);
    return true;
  }

  forgetKey() {
    this.apiKey = null;
    this.write("session", KEY, null);
    this.write("local", KEY, null);
    this.store.set({ locked: true, session: { id: null, title: "", turns: [] }, sessions: [], documents: [], panel: null });
  }

  read(kind, name) {
    try {
      return this.storage[kind].getItem(name);
    } catch {
      return null;
    }
  }

  write(kind, name, value) {
    try {
      if (value === null) this.storage[kind].removeItem(name);
      else this.storage[kind].setItem(name, value);
    } catch {
      // Storage may be blocked or full; the choice then lasts as long as the page.
    }
  }
}
