// Components are written with htm: tagged templates instead of a build step.

import htm from "./vendor/htm.js";
import { h } from "./vendor/preact.js";

export const html = htm.bind(h);

/** Join the class names that apply. */
export const classes = (...names) => names.filter(Boolean).join(" ");
