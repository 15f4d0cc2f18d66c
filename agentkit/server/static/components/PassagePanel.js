// A document at a passage: the rendered text or the PDF page, with the quote highlighted.

import { reasonOf } from "../api.js";
import { download } from "../conversation.js";
import { html, classes } from "../html.js";
import { message, t } from "../i18n.js";
import { blocks, copyText, renderBlock } from "../markdown.js";
import { insertMarks, wrapMarks } from "../marks.js";
import { useApp, useStore } from "../store.js";
import { passageOf, passagesOf, slice } from "../turns.js";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "../vendor/preact-hooks.js";
import { Icon, IconButton } from "./icons.js";
import { headingPath, isMarkdown, passagePanel } from "./passages.js";

const FIRST_AROUND = 2500;
const MOST_AROUND = 200_000;

export function PassagePanel({ panel }) {
  const { store, library, notices } = useApp();
  const [around, setAround] = useState(FIRST_AROUND);
  const [loaded, setLoaded] = useState(null);
  const [error, setError] = useState(null);
  const [view, setView] = useState(null);
  const place = `${panel.document} ${panel.start} ${panel.end}`;
  const turn = useTurn(panel);

  useEffect(() => setAround(FIRST_AROUND), [place]);
  useEffect(() => {
    let current = true;
    setError(null);
    library.text(panel.document, { start: panel.start, end: panel.end, around }).then(
      (text) => {
        if (!current) return;
        setLoaded({ ...text, place });
        if (!panel.title) store.set({ panel: { ...panel, title: text.title || text.source } });
      },
      (failure) => {
        if (!current) return;
        if (failure.status === 401) notices.error(failure);
        else if (failure.status === 404 && turn) setLoaded({ ...alone(passageOf(turn, panel.marker), panel), place });
        else setError(failure);
      },
    );
    return () => (current = false);
  }, [place, around]);

  if (error) {
    return html`<div class="panel-body"><div class="callout danger" role="alert"><${Icon} name="warn" />
      <div><strong>${reasonOf(error)}</strong>${error.next && html`<p>${error.next}</p>`}</div></div></div>`;
  }
  if (!loaded || loaded.place !== place) return html`<div class="panel-body"><div class="skeleton tall" aria-busy="true"></div></div>`;
  const views = viewsOf(loaded);
  const shown = views.some((each) => each.id === view) ? view : views[0].id;
  return html`
    <div class="panel-bar">
      <div class="place-line"><strong>${loaded.source}</strong>
        <span>${[headingPath(loaded), pageOf(loaded)].filter(Boolean).join(" · ")}</span></div>
      <div class="row">
        ${views.length > 1 && html`<div class="segments" role="group" aria-label=${t("View")}>
          ${views.map((each) => html`<button type="button" key=${each.id} aria-pressed=${each.id === shown}
            onClick=${() => setView(each.id)}>${t(each.label)}</button>`)}</div>`}
        <span class="grow"></span>
        <${Neighbours} panel=${panel} />
        ${quoteOf(loaded) && html`<${IconButton} icon="copy" size=${16} label=${t("Copy the quote")} onClick=${() => copyText(quoteOf(loaded))} />`}
        ${loaded.original && html`<${IconButton} icon="download" size=${16} label=${t("Download the original")}
          onClick=${() => library.file(loaded.id).then((file) => download(file, loaded.source.split("/").at(-1)), (failure) => notices.error(failure))} />`}
      </div>
    </div>
    <div class="panel-body document" tabindex="0" role="region" aria-label=${t("Document text")}>
      ${loaded.alone && html`<p class="hint">${t("The passage as the model was given it. Its file is not among the documents.")}</p>`}
      ${shown === "page"
        ? html`<${PageImage} loaded=${loaded} panel=${panel} />`
        : html`<${Surroundings} loaded=${loaded} onMore=${() => setAround(Math.min(around * 4, MOST_AROUND))}>
            ${shown === "rendered" ? html`<${Rendered} loaded=${loaded} />` : html`<${Plain} loaded=${loaded} />`}
          </${Surroundings}>`}
    </div>`;
}

/** A passage in place of its document, such as one of a file that came with the question. */
const alone = (passage, { start, end }) => ({
  ...passage, id: passage.document, from: passage.start, to: passage.end, total: passage.end, start, end, original: false, alone: true,
});

const pageOf = ({ page, pages, part }) => (page && pages ? t("page {n} of {all}", { n: page, all: pages }) : part);

const PAGED = new Set(["pdf", "png", "jpg", "jpeg", "tif", "tiff", "webp"]);

function viewsOf({ format, pages, page, original }) {
  if (PAGED.has(format) && original && page && pages) return [{ id: "page", label: message("Page") }, { id: "text", label: message("Text") }];
  if (isMarkdown(format)) return [{ id: "rendered", label: message("Document") }, { id: "text", label: message("Text") }];
  return [{ id: "text", label: message("Text") }];
}

const quoteOf = ({ text, from, start, end }) => (start === null ? "" : slice(text, start - from, end - from));

/** The turn that the panel was opened from, null where it was opened otherwise. */
const useTurn = (panel) => useStore((state) => (panel.turn === null ? null : state.session?.turns[panel.turn] ?? null));

/** Step through the passages of the turn that the panel was opened from. */
function Neighbours({ panel }) {
  const { store } = useApp();
  const turn = useTurn(panel);
  const passages = turn ? passagesOf(turn) : [];
  const at = passages.findIndex((passage) => passage.marker === panel.marker);
  if (at < 0 || passages.length < 2) return null;
  const go = (index) => store.set({ panel: passagePanel(passages[index], turn) });
  return html`
    <${IconButton} icon="left" size=${16} label=${t("Previous passage")} disabled=${at === 0} onClick=${() => go(at - 1)} />
    <span class="position">${t("{n} of {all}", { n: at + 1, all: passages.length })}</span>
    <${IconButton} icon="right" size=${16} label=${t("Next passage")} disabled=${at === passages.length - 1} onClick=${() => go(at + 1)} />`;
}

function Surroundings({ loaded, onMore, children }) {
  const more = (count, text) => html`<button type="button" class="text-button more" onClick=${onMore}>${t(text, { n: count })}</button>`;
  return html`
    ${loaded.from > 0 && !loaded.alone && more(loaded.from, message("{n} characters before"))}
    ${children}
    ${loaded.to < loaded.total && more(loaded.total - loaded.to, message("{n} characters after"))}`;
}

/** Scroll the highlight to the middle of the panel once it is drawn. */
function useScrolled(root, dependencies) {
  useLayoutEffect(() => {
    const mark = root.current?.querySelector(".quote");
    mark?.scrollIntoView({ block: "center" });
  }, dependencies);
}

function Plain({ loaded }) {
  const root = useRef();
  const { text, from } = loaded;
  const [start, end] = [loaded.start ?? from, loaded.end ?? from];
  useScrolled(root, [loaded]);
  return html`<div class="plain-text" ref=${root}>${slice(text, 0, start - from)}<mark class="quote">${quoteOf(loaded)}</mark>${slice(text, end - from, Infinity)}</div>`;
}

function Rendered({ loaded }) {
  const root = useRef();
  const { text, from, start, end } = loaded;
  const [found, setFound] = useState(true);
  const isQuoted = start !== null && end > start;
  const ranges = isQuoted ? [{ start: start - from, end: end - from }] : [];
  const tokens = useMemo(() => blocks(insertMarks(text, ranges)), [loaded]);
  useLayoutEffect(() => {
    const labels = { copy: t("Copy"), copied: t("Copied"), image: t("Image"), citation: String };
    const rendered = tokens.map((token) => renderBlock(token, labels));
    const whole = document.createElement("div");
    whole.append(...rendered);
    const marked = wrapMarks(whole, () => {
      const mark = document.createElement("mark");
      mark.className = "quote";
      return mark;
    });
    root.current.replaceChildren(...whole.childNodes);
    setFound(!isQuoted || marked.size > 0);
  }, [tokens]);
  useScrolled(root, [tokens, found]);
  return html`<div class=${classes("prose", "document-prose")} ref=${root} hidden=${!found}></div>
    ${!found && html`<${Plain} loaded=${loaded} />`}`;
}

/** A page drawn from the server's image, in which the quote is highlighted. */
function PageImage({ loaded, panel }) {
  const { library } = useApp();
  const canvas = useRef();
  const [number, setNumber] = useState(loaded.page);
  const [error, setError] = useState(null);
  const [drawn, setDrawn] = useState(false);
  useEffect(() => setNumber(loaded.page), [loaded]);
  useEffect(() => {
    let current = true;
    setError(null);
    library.page(loaded.id, number, { start: panel.start, end: panel.end })
      .then(createImageBitmap)
      .then((image) => {
        if (!current || !canvas.current) return;
        canvas.current.width = image.width;
        canvas.current.height = image.height;
        canvas.current.getContext("2d").drawImage(image, 0, 0);
        canvas.current.dataset.page = String(number);
        setDrawn(true);
      })
      .catch((failure) => current && (setDrawn(false), setError(failure)));
    return () => (current = false);
  }, [loaded, number]);
  return html`
    <div class="row page-bar">
      <${IconButton} icon="left" size=${16} label=${t("Previous page")} disabled=${number <= 1} onClick=${() => setNumber(number - 1)} />
      <span class="position">${t("page {n} of {all}", { n: number, all: loaded.pages })}</span>
      <${IconButton} icon="right" size=${16} label=${t("Next page")} disabled=${number >= loaded.pages} onClick=${() => setNumber(number + 1)} />
    </div>
    ${error
      ? html`<p class="field-error" role="alert">${error.message}</p>`
      : html`${!drawn && html`<div class="skeleton tall" aria-busy="true"></div>`}<canvas class="pdf-page" ref=${canvas} hidden=${!drawn} role="img"
          aria-label=${t("Page {n} of {title}; the quote is: {quote}", { n: number, title: loaded.title || loaded.source, quote: quoteOf(loaded).slice(0, 300) })}></canvas>`}
    ${quoteOf(loaded) && html`<blockquote class="page-quote">${quoteOf(loaded)}</blockquote>`}`;
}
