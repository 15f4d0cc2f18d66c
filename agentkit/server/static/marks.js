// Ranges of a Markdown text carried into its rendered elements.
//
// A range's ends become private-use characters in the source, which Markdown leaves in place as text;
// after rendering, the text between them is wrapped. Code and formulas stay unmarked.

import { utf16Index } from "./turns.js";

const FIRST = 0xe100;
const MOST = 3000;
const PRIVATE = /[\uE000-\uF8FF]/g;
const BLOCK_MARKUP = /^(?:[ \t]*(?:>|[-*+]|\d{1,9}[.)]|#{1,6}|\|)[ \t]+)*[ \t]*/;

/** Insert the ends of `ranges` (`{start, end}` in code points) into `text`. */
export function insertMarks(text, ranges) {
  const clean = text.replace(PRIVATE, "\uFFFD");
  const fences = fencedBlocks(clean);
  const places = [];
  ranges.slice(0, MOST).forEach((range, number) => {
    const ends = [utf16Index(clean, range.start), utf16Index(clean, range.end)];
    const [start, end] = trimmed(clean, ...outside(fences, ...ends));
    if (start < end) {
      places.push([start, 1, String.fromCharCode(FIRST + 2 * number)]);
      places.push([end, 0, String.fromCharCode(FIRST + 2 * number + 1)]);
    }
  });
  // Where one range ends and the next begins, the end comes first.
  places.sort((one, other) => one[0] - other[0] || one[1] - other[1]);
  let marked = "";
  let from = 0;
  for (const [place, , character] of places) {
    marked += clean.slice(from, place) + character;
    from = place;
  }
  return marked + clean.slice(from);
}

/** The places of fenced code, from the line of its opening fence to the end of the closing one. */
function fencedBlocks(text) {
  const found = [];
  let open = null;
  for (const { 0: line, 1: fence, index } of text.matchAll(/^[ \t>]*(`{3,}|~{3,}).*$/gm)) {
    if (open === null) open = { start: index, fence };
    else if (fence.startsWith(open.fence) && line.trimEnd().endsWith(fence)) {
      found.push([open.start, index + line.length]);
      open = null;
    }
  }
  return open ? [...found, [open.start, text.length]] : found;
}

/** A range that begins outside code and ends in it, or the other way, without the part in code. */
function outside(fences, start, end) {
  const holds = (place) => fences.find(([first, last]) => first <= place && place <= last);
  const [before, after] = [holds(start), holds(end)];
  if (before === after) return [start, end];
  return [before ? before[1] : start, after ? after[0] : end];
}

/** Leave markup at both ends outside, which a character in its way would turn into text. */
function trimmed(text, start, end) {
  let first = start + text.slice(start, end).match(/^\s*/)[0].length;
  if (first === 0 || text[first - 1] === "\n" || /^[ \t]*$/.test(text.slice(text.lastIndexOf("\n", first - 1) + 1, first))) {
    first += text.slice(first, end).match(BLOCK_MARKUP)[0].length;
  }
  if (/^(?:```|~~~|\$\$|\\\[)/.test(text.slice(first, end))) return [0, 0];
  first += text.slice(first, end).match(/^[*_~]*/)[0].length;
  const kept = text.slice(first, end).replace(/[\s|*_~]+$/, "");
  return [first, first + kept.length];
}

/** Remove the marks from a text that is not shown as prose. */
export const withoutMarks = (text) => text.replace(PRIVATE, "");

/**
 * Wrap what lies between marks below `root` in elements that `create(number)` makes, and remove the
 * marks. Returns the numbers of the ranges that were found.
 */
export function wrapMarks(root, create) {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  const nodes = [];
  while (walker.nextNode()) nodes.push(walker.currentNode);
  const found = new Set();
  let open = firstOpen(nodes);
  for (const node of nodes) {
    const pieces = split(node.data);
    if (pieces.length === 1 && pieces[0].mark === null && open === null) continue;
    const parts = [];
    for (const { text, mark } of pieces) {
      if (mark !== null) {
        open = mark % 2 ? null : mark / 2;
        if (open !== null) found.add(open);
      } else if (open === null || !text.trim()) {
        parts.push(document.createTextNode(text));
      } else {
        found.add(open);
        const wrapper = create(open);
        wrapper.append(text);
        parts.push(wrapper);
      }
    }
    node.replaceWith(...parts);
  }
  return found;
}

/** The range that began before these nodes: the first mark is an end. */
function firstOpen(nodes) {
  for (const node of nodes) {
    for (const { mark } of split(node.data)) {
      if (mark !== null) return mark % 2 ? (mark - 1) / 2 : null;
    }
  }
  return null;
}

function split(text) {
  const pieces = [];
  for (const piece of text.split(/([\uE000-\uF8FF])/)) {
    if (!piece) continue;
    const code = piece.charCodeAt(0);
    const mark = piece.length === 1 && code >= FIRST && code < FIRST + 2 * MOST ? code - FIRST : null;
    pieces.push({ text: piece, mark });
  }
  return pieces;
}
