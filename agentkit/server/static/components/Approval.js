// A call that waits for approval: its arguments may be changed before it is allowed.

import { html } from "../html.js";
import { t } from "../i18n.js";
import { useApp, useStore } from "../store.js";
import { useEffect, useRef, useState } from "../vendor/preact-hooks.js";
import { hasRole } from "./Composer.js";
import { Field } from "./Field.js";
import { Icon } from "./icons.js";

export function Approval({ call, run }) {
  const { conversation } = useApp();
  const allowed = useStore((state) => hasRole(state, "approve"));
  const [values, setValues] = useState(() => given(call));
  const [invalid, setInvalid] = useState({});
  const [refusal, setRefusal] = useState(null);
  const [busy, setBusy] = useState(false);
  const card = useRef();
  useEffect(() => card.current.scrollIntoView({ block: "nearest" }), []);

  const changed = sorted(values) !== sorted(given(call));
  const set = (name, value, error = null) => {
    setInvalid((known) => ({ ...known, [name]: error }));
    if (error === null) setValues(({ [name]: before, ...others }) => (value === undefined ? others : { ...others, [name]: value }));
  };
  const decide = async (decision) => {
    setBusy(true);
    setRefusal(await conversation.decide(run, call.id, decision));
    setBusy(false);
  };
  const allow = (event) => {
    event.preventDefault();
    decide(changed ? { decision: "allow", arguments: values } : { decision: "allow" });
  };
  const bad = Object.values(invalid).some(Boolean);
  const names = [...new Set([...Object.keys(given(call)), ...Object.keys(call.schema?.properties ?? {})])];
  return html`<form class="approval" ref=${card} onSubmit=${allow} aria-label=${t("Approval of {tool}", { tool: call.name })}>
    <header><${Icon} name="shield" /><div>
      <strong>${t("{tool} waits for your approval", { tool: call.name })}</strong>
      <p>${call.schema ? t("Check the arguments. What you change is checked against the tool's schema.") : t("Check the arguments. They cannot be changed.")}</p></div></header>
    <div class="approval-fields">
      ${names.map((name) => html`<${Field} key=${name} id=${`${call.id}-${name}`} name=${name} value=${values[name]}
        schema=${call.schema?.properties?.[name] ?? {}} required=${(call.schema?.required ?? []).includes(name)}
        error=${invalid[name]} disabled=${!allowed || !call.schema} onChange=${(value, error) => set(name, value, error)} />`)}
      ${names.length === 0 && html`<p class="hint">${t("This call has no arguments.")}</p>`}
    </div>
    ${refusal && html`<p class="field-error" role="alert">${refusal}</p>`}
    ${allowed
      ? html`<footer class="row">
          <button type="submit" class="button primary" disabled=${busy || bad}>${changed ? t("Allow with changes") : t("Allow")}</button>
          <button type="button" class="button" disabled=${busy} onClick=${() => decide({ decision: "deny" })}>${t("Deny")}</button>
          ${changed && html`<button type="button" class="text-button" onClick=${() => { setValues(given(call)); setInvalid({}); }}>${t("Undo changes")}</button>`}
        </footer>`
      : html`<p class="hint">${t("Your key may not approve calls.")}</p>`}
  </form>`;
}

/** The arguments that the model gave; text that is not JSON has none. */
const given = (call) => (typeof call.arguments === "object" ? { ...call.arguments } : {});

const sorted = (values) => JSON.stringify(Object.entries(values).sort(([one], [other]) => (one < other ? -1 : 1)));
