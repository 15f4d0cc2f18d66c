// An input that fits a JSON Schema; a value without a simple type is edited as JSON.

import { visible } from "../hidden.js";
import { html } from "../html.js";
import { t } from "../i18n.js";

/**
 * `schema` is the value's JSON Schema. `onChange` gets the value, or undefined with an error text
 * while it is none.
 */
export function Field({ id, name, value, schema, required, error, disabled, onChange }) {
  const type = schema.enum ? "choice" : typeOf(schema, value);
  const text = typeof value === "string" ? value : JSON.stringify(value) ?? "";
  return html`<div class="field">
    <label for=${id}><code>${visible(name)}</code>${required && !("default" in schema) && html`<span class="required" title=${t("required")}>*</span>`}
      ${schema.description && html`<small>${schema.description}</small>`}</label>
    ${INPUTS[type]({ id, value, schema, required, disabled, onChange, invalid: Boolean(error) })}
    ${visible(text) !== text && html`<p class="field-error">${t("With hidden characters: {text}", { text: visible(text) })}</p>`}
    ${error && html`<p class="field-error" role="alert">${error}</p>`}
  </div>`;
}

function typeOf(schema, value) {
  const declared = Array.isArray(schema.type) ? schema.type.find((each) => each !== "null") : schema.type;
  const type = declared ?? (typeof value === "number" ? "number" : typeof value);
  return ["string", "boolean", "number", "integer"].includes(type) ? type : "json";
}

/** The rows that a text takes in a narrow field: the end of what is approved is to be seen. */
const rowsOf = (text) => text.split("\n").reduce((rows, line) => rows + 1 + Math.floor(line.length / 60), 0);

const numberInput = ({ id, value, schema, required, disabled, invalid, onChange }) => html`<input id=${id} type="number" disabled=${disabled}
  step=${schema.type === "integer" ? 1 : "any"} min=${schema.minimum} max=${schema.maximum} aria-invalid=${invalid} defaultValue=${value}
  onInput=${({ target }) => {
    const isEmpty = target.value === "" && !target.validity.badInput;
    if (Number.isFinite(target.valueAsNumber)) onChange(target.valueAsNumber);
    else onChange(undefined, isEmpty && !required ? null : t("Enter a number."));
  }} />`;

const INPUTS = {
  string: ({ id, value, disabled, onChange }) => html`<textarea id=${id} disabled=${disabled}
    rows=${Math.min(24, rowsOf(String(value ?? "")))} value=${value ?? ""}
    onInput=${(event) => onChange(event.target.value)}></textarea>`,
  boolean: ({ id, value, disabled, onChange }) => html`<input id=${id} type="checkbox" class="switch" role="switch" disabled=${disabled}
    checked=${Boolean(value)} onChange=${(event) => onChange(event.target.checked)} />`,
  number: numberInput,
  integer: numberInput,
  choice: ({ id, value, schema, disabled, onChange }) => {
    const choices = schema.enum.includes(value) ? schema.enum : [undefined, ...schema.enum];
    return html`<span class="select"><select id=${id} disabled=${disabled} onChange=${(event) => onChange(choices[event.target.selectedIndex])}>
      ${choices.map((each) => html`<option selected=${each === value}>${each === undefined ? t("not given") : String(each)}</option>`)}</select></span>`;
  },
  json: ({ id, value, disabled, invalid, onChange }) => html`<textarea id=${id} class="code" disabled=${disabled} aria-invalid=${invalid}
    rows=${Math.min(24, Math.max(3, rowsOf(JSON.stringify(value, null, 2) ?? "")))}
    defaultValue=${value === undefined ? "" : JSON.stringify(value, null, 2)}
    onInput=${(event) => {
      try {
        onChange(JSON.parse(event.target.value));
      } catch {
        onChange(undefined, t("Enter valid JSON."));
      }
    }}></textarea>`,
};
