// The turns of a session as values: how a run's events change a turn, and what a turn shows.

/** A turn whose answer has not begun. */
export function newTurn(question, index) {
  return {
    index, question, attachments: [], state: "running", run: null, text: "", reasoning: "", tools: [],
    citations: [], passages: [], sentences: [], usage: null, seconds: null, model: null,
    stop_reason: null, error: null,
  };
}

/** A turn as it was before its run's first event, to replay all of them. */
export function restarted(turn) {
  return { ...newTurn(turn.question, turn.index), attachments: turn.attachments, run: turn.run };
}

/** The turn after an event `{event, data}` of its run. */
export function applyEvent(turn, { event, data }) {
  switch (event) {
    case "text":
      return { ...turn, text: turn.text + (data.delta ?? "") };
    case "reasoning":
      return { ...turn, reasoning: turn.reasoning + (data.delta ?? "") };
    case "tool":
      return { ...turn, tools: withCall(turn.tools, data), state: data.state === "waiting" ? "paused" : running(turn) };
    case "passages":
      return { ...turn, passages: data.passages };
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

const running = (turn) => (turn.state === "paused" ? "running" : turn.state);

function withCall(calls, call) {
  const known = calls.some((each) => each.id === call.id);
  return known ? calls.map((each) => (each.id === call.id ? { ...each, ...call } : each)) : [...calls, call];
}

/** Whether the answer is still being made. */
export const isOpen = (turn) => turn.state === "running" || turn.state === "paused";

/** The passages of a turn, those that the answer cites first, each in order of its marker. */
export function passagesOf(turn) {
  const cited = new Set((turn.citations ?? []).map((citation) => citation.marker));
  const all = new Map((turn.passages ?? []).map((passage) => [passage.marker, passage]));
  for (const citation of turn.citations ?? []) {
    if (!all.has(citation.marker) && citation.passage) all.set(citation.marker, citation.passage);
  }
  const passages = [...all.values()].map((passage) => ({ ...passage, cited: passage.cited || cited.has(passage.marker) }));
  return passages.sort((one, other) => other.cited - one.cited || one.marker - other.marker);
}

/** Find the passage of a marker. */
export const passageOf = (turn, marker) => passagesOf(turn).find((passage) => passage.marker === marker) ?? null;

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
