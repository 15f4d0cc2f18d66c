// Client of the server's JSON API. Every method resolves to parsed JSON and rejects with ApiError.

export class ApiError extends Error {
  /** @param {{message?: string, type?: string, code?: string, next?: string}} error */
  constructor(error, status) {
    super(error.message || `The server answered with status ${status}.`);
    this.name = "ApiError";
    this.status = status;
    this.type = error.type || null;
    this.code = error.code || null;
    this.next = error.next || null;
  }
}

/** What went wrong, without the next step, which messages end with. */
export const reasonOf = ({ message, next }) => (next && message.endsWith(next) ? message.slice(0, -next.length).trim() : message);

const RETRY_FIRST_MS = 400;
const RETRY_MOST_MS = 8000;

export class Api {
  /**
   * @param {{base: string, fetch?: typeof fetch, wait?: (ms: number) => Promise<void>}} options
   *   `base` ends in a slash. Where the server demands a key, its cookie carries it.
   */
  constructor({ base, fetch: send = (...values) => globalThis.fetch(...values), wait = sleep }) {
    this.base = base;
    this.send = send;
    this.wait = wait;
  }

  get(path, query) {
    return this.json("GET", path + queryString(query));
  }

  post(path, body) {
    return this.json("POST", path, body ?? {});
  }

  patch(path, body) {
    return this.json("PATCH", path, body);
  }

  delete(path) {
    return this.json("DELETE", path);
  }

  async json(method, path, body) {
    const headers = body === undefined ? {} : { "content-type": "application/json" };
    const sent = body === undefined ? undefined : JSON.stringify(body);
    const response = await this.request(path, { method, headers, body: sent });
    if (response.status === 204) return null;
    const text = await response.text();
    if (!text) return null;
    try {
      return JSON.parse(text);
    } catch {
      throw new ApiError({ message: "The server did not answer with JSON.", code: "invalid" }, response.status);
    }
  }

  /** Download a file or an image. */
  async blob(path, query) {
    return (await this.request(path + queryString(query), {})).blob();
  }

  async request(path, { method = "GET", headers = {}, body, signal } = {}) {
    let response;
    try {
      response = await this.send(this.base + path, {
        method, body, signal, headers: { accept: "application/json", ...headers },
      });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError({ message: "The server cannot be reached.", code: "unreachable" }, 0);
    }
    if (!response.ok) throw await readError(response);
    return response;
  }

  /**
   * Read server-sent events as `{id, event, data}` until a `done` event or `signal`. A broken
   * connection is opened again after the last event that arrived. `onRetry` is called before each
   * wait, `onOpen` for each connection.
   */
  async *events(path, { signal, onRetry = () => {}, onOpen = () => {} } = {}) {
    let lastId = null;
    let delay = RETRY_FIRST_MS;
    while (!signal?.aborted) {
      try {
        const headers = { accept: "text/event-stream" };
        if (lastId !== null) headers["last-event-id"] = lastId;
        const response = await this.request(path, { headers, signal });
        onOpen();
        for await (const event of parseEvents(response.body)) {
          delay = RETRY_FIRST_MS;
          if (event.id !== null) lastId = event.id;
          yield event;
          if (event.event === "done") return;
        }
      } catch (error) {
        if (signal?.aborted) return;
        // What the server refuses it would refuse again; 5xx and lost connections may pass.
        if (error instanceof ApiError && error.status >= 400 && error.status < 500) throw error;
      }
      if (signal?.aborted) return;
      onRetry(delay);
      await this.wait(delay);
      delay = Math.min(delay * 2, RETRY_MOST_MS);
    }
  }

  /** Upload files with progress from 0 to 1; `createRequest` makes an XMLHttpRequest. */
  upload(path, files, onProgress, createRequest = () => new XMLHttpRequest()) {
    return new Promise((resolve, reject) => {
      const request = createRequest();
      const form = new FormData();
      for (const file of files) form.append("files", file, file.name);
      request.open("POST", this.base + path);
      request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
      request.onerror = () => reject(new ApiError({ message: "The upload was interrupted.", code: "unreachable" }, 0));
      request.onload = () => {
        const body = parsed(request.responseText);
        if (request.status >= 200 && request.status < 300) resolve(body);
        else reject(new ApiError(body?.error ?? {}, request.status));
      };
      request.send(form);
    });
  }
}

/** Parse a stream of bytes as server-sent events: LF, CRLF or CR lines, comments left out. */
export async function* parseEvents(body) {
  let event = emptyEvent();
  for await (const line of lines(body)) {
    if (line === "") {
      if (event.data !== null) yield { ...event, data: parsed(event.data) };
      event = { ...emptyEvent() };
    } else if (!line.startsWith(":")) {
      const [, field, value] = line.match(/^([^:]*)(?::[ ]?(.*))?$/s);
      if (field === "data") event.data = event.data === null ? value ?? "" : `${event.data}\n${value ?? ""}`;
      else if (field === "event") event.event = value ?? "";
      else if (field === "id") event.id = value ?? "";
    }
  }
}

const emptyEvent = () => ({ id: null, event: "message", data: null });

async function* lines(body) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      rest += done ? decoder.decode() : decoder.decode(value, { stream: true });
      // A CR at the end may be the first half of CRLF.
      const complete = !done && rest.endsWith("\r") ? rest.slice(0, -1) : rest;
      const found = complete.split(/\r\n|\n|\r/);
      rest = found.pop() + rest.slice(complete.length);
      yield* found;
      if (done) return;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

async function readError(response) {
  const body = parsed(await response.text());
  return new ApiError(body?.error ?? {}, response.status);
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function queryString(query) {
  const pairs = Object.entries(query ?? {}).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return pairs.length ? `?${new URLSearchParams(pairs)}` : "";
}

function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
