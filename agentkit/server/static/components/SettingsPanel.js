// Settings: this browser's language, appearance and key, and what the server lets one change.

import { html } from "../html.js";
import { LANGUAGES, message, t } from "../i18n.js";
import { useApp, useStore } from "../store.js";
import { useEffect, useRef, useState } from "../vendor/preact-hooks.js";
import { hasRole } from "./Composer.js";
import { Field } from "./Field.js";

const LOCAL = "local";
const SAVE_MS = 700;
const THEMES = { system: message("System"), light: message("Light"), dark: message("Dark") };
const SHORTCUTS = [
  ["/", message("Write a question")],
  ["Ctrl K", message("Find a conversation")],
  ["Alt N", message("New conversation")],
  ["Alt D", message("Documents")],
  ["Alt F", message("Search passages")],
  ["Esc", message("Close the panel, or stop the answer")],
];

export function SettingsPanel() {
  const { preferences } = useApp();
  const language = useStore((state) => state.language);
  const theme = useStore((state) => state.theme);
  const identity = useStore((state) => state.server?.identity);
  return html`<div class="panel-body settings">
    <section><h3>${t("This browser")}</h3>
      <${Choice} label=${t("Language")} value=${language} choices=${LANGUAGES} onChange=${(value) => preferences.setLanguage(value)} />
      <${Choice} label=${t("Appearance")} value=${theme} onChange=${(value) => preferences.setTheme(value)}
        choices=${Object.fromEntries(Object.entries(THEMES).map(([key, label]) => [key, t(label)]))} />
      ${identity && identity.name !== LOCAL && html`<form class="setting" method="post" action="logout">
        <span>${t("Signed in as {name}", { name: identity.name })}</span>
        <button type="submit" class="button">${t("Sign out")}</button></form>`}
    </section>
    <${ServerSettings} />
    <section><h3>${t("Keyboard")}</h3>
      <dl class="shortcuts">${SHORTCUTS.map(([keys, text]) => html`<div key=${keys}><dt>${keys.split(" ").map((key) => html`<kbd>${key}</kbd>`)}</dt><dd>${t(text)}</dd></div>`)}</dl>
    </section>
  </div>`;
}

function Choice({ label, value, choices, onChange }) {
  return html`<div class="setting"><span>${label}</span>
    <div class="segments" role="group" aria-label=${label}>${Object.entries(choices).map(([key, text]) => html`<button type="button"
      key=${key} aria-pressed=${key === value} onClick=${() => onChange(key)}>${text}</button>`)}</div></div>`;
}

function ServerSettings() {
  const { api, notices } = useApp();
  const allowed = useStore((state) => hasRole(state, "documents"));
  const [settings, setSettings] = useState([]);
  useEffect(() => {
    if (allowed) api.get("settings").then((found) => setSettings(found.settings), (error) => notices.error(error));
  }, [allowed]);
  if (!settings.length) return null;
  return html`<section class="server-settings"><h3>${t("This server")}</h3>
    ${settings.map((setting) => html`<${ServerSetting} key=${setting.key} setting=${setting} />`)}
  </section>`;
}

/** A setting of the server, saved a moment after its last change. */
function ServerSetting({ setting }) {
  const { api, notices } = useApp();
  const [value, setValue] = useState(setting.value ?? undefined);
  const [error, setError] = useState(null);
  const timer = useRef();
  const save = (changed) => api.patch("settings", { [setting.key]: changed ?? null }).then(
    () => notices.info(t("Saved.")),
    (failure) => setError(failure.message),
  );
  const onChange = (changed, fault = null) => {
    clearTimeout(timer.current);
    setError(fault);
    if (fault) return;
    setValue(changed);
    timer.current = setTimeout(() => save(changed), SAVE_MS);
  };
  return html`<${Field} id=${`setting-${setting.key}`} name=${setting.key} value=${value} schema=${setting.schema}
    required=${"default" in setting.schema} error=${error} onChange=${onChange} />`;
}
