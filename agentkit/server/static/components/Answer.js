// The answer's text: Markdown that grows while it streams, citation chips, unsupported sentences.

import { classes, html } from "../html.js";
import { t } from "../i18n.js";
import { blocks, renderBlock } from "../markdown.js";
import { insertMarks, wrapMarks } from "../marks.js";
import { useApp } from "../store.js";
import { isOpen, passageOf, support } from "../turns.js";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "../vendor/preact-hooks.js";
import { passagePanel } from "./passages.js";
import { Preview } from "./Preview.js";

const REDRAW_MS = 70;
const OPEN_MS = 130;
const CLOSE_MS = 220;

export function Answer({ turn }) {
  const { store } = useApp();
  const open = isOpen(turn);
  const text = useThrottled(turn.text, open);
  const doubts = open ? NONE : support(turn).unsupported;
  const known = useMemo(() => markersOf(turn), [turn.passages, turn.citations]);
  const tokens = useMemo(
    () => blocks(doubts.length ? insertMarks(text, doubts) : text, known),
    [text, doubts.length, known],
  );
  const root = useRef();
  const { preview, handlers, hold, release, close } = usePreview(root);

  const onClick = (event) => {
    const chip = event.target.closest(".cite");
    if (!chip) return;
    close();
    const passage = passageOf(turn, chip.dataset.marker);
    if (passage) store.set({ panel: passagePanel(passage, turn) });
  };
  const shown = preview && describe(preview.element, turn, doubts);
  return html`<div class="answer" ref=${root} ...${handlers} onClick=${onClick}>
    <div class=${classes("prose", open && "growing")}>
      ${tokens.map((token, index) => html`<${Block} key=${index} token=${token} doubts=${doubts} turn=${turn} known=${known} />`)}
    </div>
    ${shown && html`<${Preview} ...${shown} anchor=${preview.element} onEnter=${hold} onLeave=${release} />`}
  </div>`;
}

const NONE = [];

const markersOf = (turn) => [
  ...new Set([...(turn.passages ?? []), ...(turn.citations ?? [])].map((each) => each.marker)),
];

function describe(element, turn, doubts) {
  if (element.classList.contains("cite")) {
    const passage = passageOf(turn, element.dataset.marker);
    return passage ? { passage } : null;
  }
  const doubt = doubts[Number(element.dataset.sentence)];
  return doubt ? { doubt } : null;
}

/** One top-level block, rendered again only when its source changes. */
function Block({ token, doubts, turn, known }) {
  const place = useRef();
  useLayoutEffect(() => {
    const fragment = renderBlock(token, {
      copy: t("Copy"),
      copied: t("Copied"),
      image: t("Image"),
      citation: (number) => t("Passage {n}: {title}", { n: number, title: passageOf(turn, number)?.title ?? "" }),
    });
    const begun = new Set();
    wrapMarks(fragment, (number) => {
      const mark = document.createElement("mark");
      mark.className = "unsupported";
      mark.dataset.sentence = String(number);
      // A sentence is one stop of the Tab key, however many pieces it has.
      if (begun.has(number)) return mark;
      begun.add(number);
      mark.tabIndex = 0;
      const reason = doubts[number]?.reason || t("No passage says this.");
      mark.setAttribute("aria-description", t("Not supported: {reason}", { reason }));
      return mark;
    });
    place.current.replaceChildren(fragment);
  }, [token.raw, doubts.length, known]);
  return html`<div class="block" ref=${place}></div>`;
}

/** The value, at most once per REDRAW_MS while `active`. */
function useThrottled(value, active) {
  const [shown, setShown] = useState(value);
  const state = useRef({ timer: null, latest: value });
  state.current.latest = value;
  useEffect(() => {
    const { current } = state;
    if (!active) {
      clearTimeout(current.timer);
      current.timer = null;
    } else if (current.timer === null) {
      current.timer = setTimeout(() => {
        current.timer = null;
        setShown(current.latest);
      }, REDRAW_MS);
    }
  }, [value, active]);
  useEffect(() => () => clearTimeout(state.current.timer), []);
  return active ? shown : value;
}

/** Which chip or sentence shows its preview: on hover after a moment, on focus, until left. */
function usePreview(root) {
  const [preview, setPreview] = useState(null);
  const timer = useRef();
  const later = (value, delay) => {
    clearTimeout(timer.current);
    timer.current = setTimeout(() => setPreview(value), delay);
  };
  useLayoutEffect(() => {
    if (!preview) return undefined;
    const escape = (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      setPreview(null);
    };
    const scrolled = () => setPreview(null);
    const scroller = root.current?.closest(".thread");
    document.addEventListener("keydown", escape, true);
    scroller?.addEventListener("scroll", scrolled, { passive: true });
    return () => {
      document.removeEventListener("keydown", escape, true);
      scroller?.removeEventListener("scroll", scrolled);
    };
  }, [preview]);
  useEffect(() => () => clearTimeout(timer.current), []);

  const target = (event) => event.target.closest?.(".cite, .unsupported");
  const enter = (event, delay) => {
    const element = target(event);
    if (element && root.current.contains(element)) later({ element }, delay);
  };
  const close = () => {
    clearTimeout(timer.current);
    setPreview(null);
  };
  return {
    preview: preview?.element.isConnected ? preview : null,
    handlers: {
      onMouseOver: (event) => enter(event, OPEN_MS),
      onMouseOut: (event) => target(event) && later(null, CLOSE_MS),
      onFocusIn: (event) => event.target.matches(":focus-visible") && enter(event, 0),
      onFocusOut: (event) => target(event) && close(),
    },
    hold: () => clearTimeout(timer.current),
    release: () => later(null, CLOSE_MS),
    close,
  };
}
