// A button that opens a list of choices, used by mouse and keyboard alike.

import { html, classes } from "../html.js";
import { useEffect, useRef, useState } from "../vendor/preact-hooks.js";
import { Icon } from "./icons.js";

/**
 * `items` are `{id, label, note?, icon?, checked?, danger?, onSelect}`; with `multiple` the menu
 * stays open while choices are made. `children` is what the button shows.
 */
export function Menu({ label, items, children, multiple = false, align = "start", className = "", empty = null, footer = null }) {
  const [open, setOpen] = useState(false);
  const root = useRef();
  const button = useRef();

  useEffect(() => {
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
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: entries.length - 1 }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      entries.at(to % entries.length)?.focus();
    } else if (event.key === "Escape") {
      event.stopPropagation();
      close();
    } else if (event.key === "Tab") {
      setOpen(false);
    }
  };
  const select = (item) => {
    item.onSelect();
    if (!multiple) close();
  };

  return html`<div class=${classes("menu", className)} ref=${root} onKeyDown=${onKeyDown}>
    <button type="button" class="menu-button" ref=${button} aria-haspopup="menu" aria-expanded=${open} aria-label=${label}
      title=${label} onClick=${() => setOpen(!open)}>${children}</button>
    ${open && html`<div class=${classes("menu-list", `menu-${align}`)} role="menu" aria-label=${label}>
      ${items.length === 0 && empty && html`<p class="menu-empty">${empty}</p>`}
      ${items.map((item) => html`<button type="button" key=${item.id} tabindex="-1"
        class=${classes("menu-item", item.danger && "danger")}
        role=${item.checked === undefined ? "menuitem" : multiple ? "menuitemcheckbox" : "menuitemradio"}
        aria-checked=${item.checked} onClick=${() => select(item)}>
        ${item.icon && html`<${Icon} name=${item.icon} size=${16} />`}
        <span class="menu-text"><span>${item.label}</span>${item.note && html`<small>${item.note}</small>`}</span>
        ${item.checked && html`<${Icon} name="check" size=${16} />`}
      </button>`)}
      ${footer && html`<p class="menu-footer">${footer}</p>`}
    </div>`}
  </div>`;
}
