// Line icons on a 20 by 20 grid, drawn in the colour of the text around them.

import { html } from "../html.js";

const PATHS = {
  plus: "M10 4v12M4 10h12",
  search: "M9 15a6 6 0 1 0 0-12 6 6 0 0 0 0 12zM13.5 13.5 17 17",
  documents: "M6 3h5l4 4v10H6zM11 3v4h4M8.5 11h4M8.5 14h4",
  settings: "M4 6h7M15 6h1M4 14h1M9 14h7M13 4v4M7 12v4",
  menu: "M3.5 6h13M3.5 10h13M3.5 14h13",
  close: "M5 5l10 10M15 5 5 15",
  send: "M10 16V4M5 9l5-5 5 5",
  stop: "M6 6h8v8H6z",
  attach: "M14.5 9.5 9.7 14.3a3 3 0 0 1-4.3-4.3l5.5-5.4a2 2 0 0 1 2.8 2.8l-5.4 5.4a1 1 0 0 1-1.4-1.4l4.7-4.7",
  copy: "M7 7h9v9H7zM13 7V4H4v9h3",
  check: "M4 10.5 8 14.5 16 6",
  retry: "M15.5 10a5.5 5.5 0 1 1-1.8-4.1M15.5 3v3.5H12",
  branch: "M6 4v12M6 12c0-3 8-2 8-6M14 6V4M4.5 4h3M12.5 4h3",
  edit: "M4 16l.8-3.2L13 4.6l2.4 2.4-8.2 8.2z",
  trash: "M4.5 6h11M8 6V4h4v2M6 6l.7 10h6.6L14 6",
  more: "M5 10h.01M10 10h.01M15 10h.01",
  down: "M5 8l5 5 5-5",
  right: "M8 5l5 5-5 5",
  left: "M12 5l-5 5 5 5",
  warn: "M10 3.5 17.5 16.5h-15zM10 8.5v3.5M10 14.3v.01",
  quote: "M4 14V9.5C4 7 5.5 5.5 7.5 5.5M4 10h4v4H4zM12 14V9.5C12 7 13.5 5.5 15.5 5.5M12 10h4v4h-4z",
  tool: "M12.5 4a3.5 3.5 0 0 0-3.3 4.7L4 13.9 6.1 16l5.2-5.2A3.5 3.5 0 0 0 16 7.5l-2.2 1.2-1.8-1.8L13.4 4.1z",
  shield: "M10 3l6 2v5c0 3.5-2.6 6-6 7-3.4-1-6-3.5-6-7V5z",
  upload: "M10 13V4M6 8l4-4 4 4M4 13v3h12v-3",
  link: "M8.5 11.5l3-3M7 9 5.2 10.8a2.8 2.8 0 0 0 4 4L11 13M9 7l1.8-1.8a2.8 2.8 0 0 1 4 4L13 11",
  open: "M11 4h5v5M16 4l-7 7M13 11.5V16H4V7h4.5",
  download: "M10 4v9M6 9.5l4 4 4-4M4 16h12",
  model: "M5 5h10v10H5zM8 8h4v4H8zM8 2.5V5M12 2.5V5M8 15v2.5M12 15v2.5M2.5 8H5M2.5 12H5M15 8h2.5M15 12h2.5",
  folder: "M3 5.5h5l1.5 2H17V15.5H3z",
};

/** An icon by name; decoration, so hidden from screen readers. */
export function Icon({ name, size = 18 }) {
  return html`<svg class="icon" viewBox="0 0 20 20" width=${size} height=${size} aria-hidden="true" focusable="false">
    <path d=${PATHS[name]} />
  </svg>`;
}

/** The mark of the product. */
export function Logo({ size = 26 }) {
  return html`<svg class="logo" viewBox="0 0 32 32" width=${size} height=${size} aria-hidden="true" focusable="false">
    <rect width="32" height="32" rx="9" />
    <path d="M9 10.5h14M9 16h9M9 21.5h6" />
    <circle cx="22.5" cy="20.5" r="3.6" />
  </svg>`;
}

/** A button that shows only an icon, with its name for screen readers and as a tooltip. */
export function IconButton({ icon, label, onClick, size = 18, ...rest }) {
  return html`<button type="button" class="icon-button" aria-label=${label} title=${label} onClick=${onClick} ...${rest}>
    <${Icon} name=${icon} size=${size} />
  </button>`;
}
