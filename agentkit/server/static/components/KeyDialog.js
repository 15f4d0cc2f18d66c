// Asks for the API key where the server demands one.

import { html } from "../html.js";
import { t } from "../i18n.js";
import { useApp, useStore } from "../store.js";
import { useEffect, useRef, useState } from "../vendor/preact-hooks.js";
import { Logo } from "./icons.js";

export function KeyDialog() {
  const { preferences } = useApp();
  const locked = useStore((state) => state.locked);
  const dialog = useRef();
  const [refused, setRefused] = useState(false);
  useEffect(() => {
    if (locked && !dialog.current.open) dialog.current.showModal();
    else if (!locked) dialog.current.close();
  }, [locked]);
  const submit = async (event) => {
    event.preventDefault();
    const data = new FormData(event.target);
    setRefused(!(await preferences.useKey(data.get("key").trim(), data.has("remember"))));
  };
  return html`<dialog class="key-dialog" ref=${dialog} onCancel=${(event) => event.preventDefault()} aria-labelledby="key-title">
    <form onSubmit=${submit}>
      <${Logo} size=${36} />
      <h2 id="key-title">${t("This server needs a key")}</h2>
      <p>${t("Whoever runs it makes one with")} <code>agentkit keys</code>.</p>
      <label for="api-key">${t("Key")}</label>
      <input id="api-key" name="key" type="password" required autocomplete="current-password" aria-invalid=${refused} />
      ${refused && html`<p class="field-error" role="alert">${t("The server refused this key.")}</p>`}
      <label class="check"><input type="checkbox" name="remember" />${t("Remember it in this browser")}</label>
      <button type="submit" class="button primary">${t("Continue")}</button>
    </form>
  </dialog>`;
}
