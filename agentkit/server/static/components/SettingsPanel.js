// Settings: this browser's language, appearance and key, and what the server lets one change.

import { html } from "../html.js";
import { LANGUAGES, message, t } from "../i18n.js";
import { useApp, useStore } from "../store.js";
import { useEffect, useState } from "../vendor/preact-hooks.js";

const LOCAL = "local";
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
  const [settings, setSettings] = useState([]);
  useEffect(() => {
    api.get("settings").then((found) => setSettings(found.settings ?? []), () => {});
  }, []);
  if (!settings.length) return null;
  const change = (key, value) => api.patch("settings", { [key]: value }).then(
    (found) => {
      setSettings(found?.settings ?? settings.map((each) => (each.key === key ? { ...each, value } : each)));
      notices.info(t("Saved."));
    },
    (error) => {
      setSettings([...settings]);
      notices.error(error);
    },
  );
  return html`<section><h3>${t("This server")}</h3>
    ${settings.map((setting) => html`<${ServerSetting} key=${setting.key} setting=${setting} onChange=${(value) => change(setting.key, value)} />`)}
  </section>`;
}

function ServerSetting({ setting, onChange }) {
  const id = `setting-${setting.key}`;
  const input = {
    bool: () => html`<input id=${id} type="checkbox" class="switch" role="switch" checked=${Boolean(setting.value)}
      onChange=${(event) => onChange(event.target.checked)} />`,
    choice: () => html`<span class="select"><select id=${id} onChange=${(event) => onChange(event.target.value)}>
      ${(setting.choices ?? []).map((each) => html`<option value=${each} selected=${each === setting.value}>${each}</option>`)}</select></span>`,
    integer: () => html`<input id=${id} type="number" step="1" value=${setting.value} onChange=${(event) => onChange(event.target.valueAsNumber)} />`,
    number: () => html`<input id=${id} type="number" step="any" value=${setting.value} onChange=${(event) => onChange(event.target.valueAsNumber)} />`,
  }[setting.type] ?? (() => html`<input id=${id} type="text" value=${setting.value ?? ""} onChange=${(event) => onChange(event.target.value)} />`);
  return html`<div class="setting"><label for=${id}>${setting.label ?? setting.key}${setting.help && html`<small>${setting.help}</small>`}</label>${input()}</div>`;
}
