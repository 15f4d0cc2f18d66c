// The turns of a session as values: how a run's events change a turn, and what a turn shows.

/** A turn whose answer has not begun. */
export function newTurn(question, index) {
  return {
    index, question, attachments: [], images: 0, state: "running", run: null, text: "", reasoning: "", tools: [],
    citations: [], passages: [], sentences: [], usage: null, seconds: null, model: null,
    stop_reason: null, error: null,
  };
}

/** A turn as it was before its run's first event, to replay all of them. */
export function restarted(turn) {
  return { ...newTurn(turn.question, turn.index), attachments: turn.attachments, images: turn.images, run: turn.run };
}

/** The turn after an event `{event, data}` of its run. */
export function applyEvent(turn, { event, data }) {
  switch (event) {
    case "text":
      return { ...turn, text: turn.text + (data.delta ?? "") };
    case "reasoning":
      return { ...turn, reasoning: turn.reasoning + (data.delta ?? "") };
    case "tool":
      return stated({ ...turn, tools: withCall(turn.tools, data) });
    case "passages":
      return { ...turn, passages: merged(turn.passages, data.passages) };
    case "turn":
      return { ...turn, ...data, index: turn.index };
    case "error":
      return { ...turn, state: "failed", error: data };
    case "done":
      return { ...turn, run: null, state: isOpen(turn) ? "done" : turn.state };
    default:
      return turn;
  }
}

/** A turn whose answer is being made is paused as long as a call waits. */
function stated(turn) {
  const waits = turn.tools.some((call) => call.state === "waiting");
  return isOpen(turn) ? { ...turn, state: waits ? "paused" : "running" } : turn;
}

function merged(passages, added) {
  const all = new Map([...passages, ...added].map((passage) => [String(passage.marker), passage]));
  return [...all.values()];
}

function withCall(calls, call) {
  const known = calls.some((each) => each.id === call.id);
  return known ? calls.map((each) => (each.id === call.id ? { ...each, ...call } : each)) : [...calls, call];
}

/** Whether the answer is still being made. */
export const isOpen = (turn) => turn.state === "running" || turn.state === "paused";

/**
 * The passages of a turn, those that the answer cites first, each in order of its marker; `quotes`
 * are the parts `{text, start, end, page}` that support what is said.
 */
export function passagesOf(turn) {
  const all = new Map((turn.passages ?? []).map((passage) => [String(passage.marker), { ...passage, cited: false, quotes: [] }]));
  for (const { marker, passage, quote, start, end, page } of turn.citations ?? []) {
    const known = all.get(String(marker)) ?? { ...passage, quotes: [] };
    const quotes = quote ? [...known.quotes, { text: quote, start, end, page }] : known.quotes;
    all.set(String(marker), { ...known, cited: true, quotes, page: quotes[0]?.page ?? known.page });
  }
  return [...all.values()].sort((one, other) => other.cited - one.cited || one.marker - other.marker);
}

/** Find the passage of a marker. */
export const passageOf = (turn, marker) => passagesOf(turn).find((passage) => String(passage.marker) === String(marker)) ?? null;

/** Count the sentences that were checked, and list those that no passage supports. */
export function support(turn) {
  const checked = (turn.sentences ?? []).filter((sentence) => sentence.supported !== null);
  return { checked: checked.length, unsupported: checked.filter((sentence) => !sentence.supported) };
}

/** The index in a JavaScript string (UTF-16) of a place counted in characters (code points). */
export function utf16Index(text, position) {
  if (!/[\uD800-\uDBFF]/.test(text)) return position;
  let index = 0;
  for (let left = position; left > 0 && index < text.length; left -= 1) {
    index += text.codePointAt(index) > 0xffff ? 2 : 1;
  }
  return index;
}

/** The part of a text between two places counted in characters. */
export const slice = (text, start, end) => text.slice(utf16Index(text, start), utf16Index(text, end));
