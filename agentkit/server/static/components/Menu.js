// A button that opens a list of choices, used by mouse and keyboard alike.

import { html, classes } from "../html.js";
import { t } from "../i18n.js";
import { useEffect, useRef, useState } from "../vendor/preact-hooks.js";
import { Icon } from "./icons.js";

const SHORT = 12; // items that need no filter
const MOST = 100; // items shown at once

/**
 * `items` are `{id, label, note?, icon?, checked?, danger?, onSelect}`; with `multiple` the menu
 * stays open while choices are made. Many items can be filtered. `children` is what the button shows.
 */
export function Menu({ label, items, children, multiple = false, align = "start", className = "" }) {
  const [open, setOpen] = useState(false);
  const [filter, setFilter] = useState("");
  const wanted = filter.trim().toLowerCase();
  const shown = open ? items.filter((item) => `${item.label} ${item.note ?? ""}`.toLowerCase().includes(wanted)).slice(0, MOST) : [];
  const root = useRef();
  const button = useRef();

  useEffect(() => {
    setFilter("");
    if (!open) return undefined;
    const outside = (event) => root.current.contains(event.target) || setOpen(false);
    document.addEventListener("pointerdown", outside);
    (root.current.querySelector("[aria-checked=true]") ?? root.current.querySelector(".menu-item"))?.focus();
    return () => document.removeEventListener("pointerdown", outside);
  }, [open]);

  const close = () => {
    setOpen(false);
    button.current.focus();
  };
  const onKeyDown = (event) => {
    if (!open) return;
    const entries = [...root.current.querySelectorAll(".menu-item")];
    const at = entries.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: Math.max(at, 0) - 1, Home: 0, End: entries.length - 1 }[event.key];
    if (to !== undefined && (at >= 0 || event.key.startsWith("Arrow"))) {
      event.preventDefault();
      entries.at(to % entries.length)?.focus();
    } else if (event.key === "Escape") {
      event.stopPropagation();
      close();
    } else if (event.key === "Tab") {
      setOpen(false);
    } else if (event.key.length === 1 && event.key !== " " && !event.ctrlKey && !event.metaKey) {
      root.current.querySelector("input")?.focus();
    }
  };
  const select = (item) => {
    item.onSelect();
    if (!multiple) close();
  };

  return html`<div class=${classes("menu", className)} ref=${root} onKeyDown=${onKeyDown}>
    <button type="button" class="menu-button" ref=${button} aria-haspopup="menu" aria-expanded=${open} aria-label=${label}
      title=${label} onClick=${() => setOpen(!open)}>${children}</button>
    ${open && html`<div class=${classes("menu-list", `menu-${align}`)}>
      ${items.length > SHORT && html`<input type="search" placeholder=${t("Filter")} aria-label=${t("Filter")} value=${filter}
        onInput=${(event) => setFilter(event.target.value)} />`}
      ${shown.length === 0 && html`<p class="hint">${t("Nothing matches.")}</p>`}
      <div role="menu" aria-label=${label}>${shown.map((item) => html`<button type="button" key=${item.id} tabindex="-1"
        class=${classes("menu-item", item.danger && "danger")}
        role=${item.checked === undefined ? "menuitem" : multiple ? "menuitemcheckbox" : "menuitemradio"}
        aria-checked=${item.checked} onClick=${() => select(item)}>
        ${item.icon && html`<${Icon} name=${item.icon} size=${16} />`}
        <span class="menu-text"><span>${item.label}</span>${item.note && html`<small>${item.note}</small>`}</span>
        ${item.checked && html`<${Icon} name="check" size=${16} />`}
      </button>`)}</div>
    </div>`}
  </div>`;
}
