// A call that waits for approval: its arguments may be changed before it is allowed.

import { html } from "../html.js";
import { t } from "../i18n.js";
import { useApp, useStore } from "../store.js";
import { useEffect, useRef, useState } from "../vendor/preact-hooks.js";
import { hasRole } from "./Composer.js";
import { Icon } from "./icons.js";

export function Approval({ call, run }) {
  const { conversation } = useApp();
  const allowed = useStore((state) => hasRole(state, "approve"));
  const [values, setValues] = useState(() => ({ ...call.arguments }));
  const [invalid, setInvalid] = useState({});
  const [refusal, setRefusal] = useState(null);
  const [busy, setBusy] = useState(false);
  const card = useRef();
  useEffect(() => card.current.scrollIntoView({ block: "nearest" }), []);

  const changed = JSON.stringify(values) !== JSON.stringify(call.arguments);
  const set = (name, value, error = null) => {
    setInvalid((known) => ({ ...known, [name]: error }));
    if (error === null) setValues((known) => ({ ...known, [name]: value }));
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
  const names = [...new Set([...Object.keys(call.arguments ?? {}), ...Object.keys(call.schema?.properties ?? {})])];
  return html`<form class="approval" ref=${card} onSubmit=${allow} aria-label=${t("Approval of {tool}", { tool: call.name })}>
    <header><${Icon} name="shield" /><div>
      <strong>${t("{tool} waits for your approval", { tool: call.name })}</strong>
      <p>${t("Check the arguments. What you change is checked against the tool's schema.")}</p></div></header>
    <div class="approval-fields">
      ${names.map((name) => html`<${Field} key=${name} id=${`${call.id}-${name}`} name=${name} value=${values[name]}
        schema=${call.schema?.properties?.[name] ?? {}} required=${(call.schema?.required ?? []).includes(name)}
        error=${invalid[name]} disabled=${!allowed} onChange=${(value, error) => set(name, value, error)} />`)}
      ${names.length === 0 && html`<p class="hint">${t("This call has no arguments.")}</p>`}
    </div>
    ${refusal && html`<p class="field-error" role="alert">${refusal}</p>`}
    ${allowed
      ? html`<footer class="row">
          <button type="submit" class="button primary" disabled=${busy || bad}>${changed ? t("Allow with changes") : t("Allow")}</button>
          <button type="button" class="button" disabled=${busy} onClick=${() => decide({ decision: "deny" })}>${t("Deny")}</button>
          ${changed && html`<button type="button" class="text-button" onClick=${() => { setValues({ ...call.arguments }); setInvalid({}); }}>${t("Undo changes")}</button>`}
        </footer>`
      : html`<p class="hint">${t("Your key may not approve calls.")}</p>`}
  </form>`;
}

/** An input that fits the type of an argument; what has no simple type is edited as JSON. */
function Field({ id, name, value, schema, required, error, disabled, onChange }) {
  const type = schema.enum ? "choice" : typeOf(schema, value);
  return html`<div class="field">
    <label for=${id}><code>${name}</code>${required && html`<span class="required" title=${t("required")}>*</span>`}
      ${schema.description && html`<small>${schema.description}</small>`}</label>
    ${INPUTS[type]({ id, value, schema, disabled, onChange, invalid: Boolean(error) })}
    ${error && html`<p class="field-error" role="alert">${error}</p>`}
  </div>`;
}

function typeOf(schema, value) {
  const declared = Array.isArray(schema.type) ? schema.type.find((each) => each !== "null") : schema.type;
  const type = declared ?? (typeof value === "number" ? "number" : typeof value);
  return ["string", "boolean", "number", "integer"].includes(type) ? type : "json";
}

const numberInput = ({ id, value, schema, disabled, invalid, onChange }) => html`<input id=${id} type="number" disabled=${disabled}
  step=${schema.type === "integer" ? 1 : "any"} min=${schema.minimum} max=${schema.maximum} aria-invalid=${invalid} defaultValue=${value}
  onInput=${(event) => (event.target.value === "" || !Number.isFinite(event.target.valueAsNumber)
    ? onChange(undefined, t("Enter a number."))
    : onChange(event.target.valueAsNumber))} />`;

const INPUTS = {
  string: ({ id, value, disabled, onChange }) => html`<textarea id=${id} disabled=${disabled}
    rows=${Math.min(8, Math.max(1, String(value ?? "").split("\n").length))} value=${value ?? ""}
    onInput=${(event) => onChange(event.target.value)}></textarea>`,
  boolean: ({ id, value, disabled, onChange }) => html`<input id=${id} type="checkbox" class="switch" role="switch" disabled=${disabled}
    checked=${Boolean(value)} onChange=${(event) => onChange(event.target.checked)} />`,
  number: numberInput,
  integer: numberInput,
  choice: ({ id, value, schema, disabled, onChange }) => html`<span class="select"><select id=${id} disabled=${disabled}
    onChange=${(event) => onChange(schema.enum[event.target.selectedIndex])}>
    ${schema.enum.map((each) => html`<option selected=${each === value}>${String(each)}</option>`)}</select></span>`,
  json: ({ id, value, disabled, invalid, onChange }) => html`<textarea id=${id} class="code" disabled=${disabled} aria-invalid=${invalid}
    rows="3" defaultValue=${value === undefined ? "" : JSON.stringify(value, null, 2)}
    onInput=${(event) => {
      try {
        onChange(JSON.parse(event.target.value));
      } catch {
        onChange(undefined, t("Enter valid JSON."));
      }
    }}></textarea>`,
};
