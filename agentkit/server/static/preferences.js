// What this browser remembers: language and theme.

import { preferredLanguage, setLanguage } from "./i18n.js";

const LANGUAGE = "agentkit.language";
const THEME = "agentkit.theme";

export class Preferences {
  /** `storage` gives a Web Storage, which may be blocked; `languages` are those of the browser. */
  constructor({ store, root, storage, languages }) {
    Object.assign(this, { store, root, storage });
    this.applyLanguage(this.read(LANGUAGE) ?? preferredLanguage(languages));
    store.set({ theme: this.read(THEME) ?? "system" });
  }

  setLanguage(language) {
    this.write(LANGUAGE, language);
    this.applyLanguage(language);
  }

  applyLanguage(language) {
    setLanguage(language);
    this.root.lang = language === "zh" ? "zh-Hans" : language;
    this.store.set({ language });
  }

  setTheme(theme) {
    this.write(THEME, theme === "system" ? null : theme);
    if (theme === "system") delete this.root.dataset.theme;
    else this.root.dataset.theme = theme;
    this.store.set({ theme });
  }

  read(name) {
    try {
      return this.storage().getItem(name);
    } catch {
      return null;
    }
  }

  write(name, value) {
    try {
      if (value === null) this.storage().removeItem(name);
      else this.storage().setItem(name, value);
    } catch {
      // Storage may be blocked or full; the choice then lasts as long as the page.
    }
  }
}
