// Documents, passages and searches: what the page does with them, through the API and the store.

import { t } from "./i18n.js";

let uploads = 0;

export class Library {
  /** @param {{store, api, notices}} parts */
  constructor({ store, api, notices }) {
    Object.assign(this, { store, api, notices });
  }

  async list() {
    const { documents } = await this.api.get("documents");
    this.store.set({ documents });
  }

  /** Upload files one by one, each with its own progress; those that are too large are refused. */
  async upload(files) {
    const most = this.store.get().server?.limits?.upload_bytes ?? Infinity;
    const added = [...files].map((file) => ({ file, id: (uploads += 1), name: file.name, fraction: 0, state: "sending" }));
    if (!added.length) return;
    this.store.set((state) => ({
      uploads: [...state.uploads, ...added.map(({ file, ...upload }) => upload)],
      panel: { kind: "documents" },
    }));
    let sent = 0;
    for (const { file, id } of added) {
      try {
        if (file.size > most) {
          throw new Error(t("The file is larger than {size}, the most this server takes.", { size: formatBytes(most) }));
        }
        await this.api.upload("documents", [file], (fraction) => this.change(id, { fraction }));
        sent += 1;
        this.dismiss(id);
        await this.list().catch(() => {});
      } catch (error) {
        this.change(id, { state: "failed", error: error.message });
        this.store.set({ announcement: t("{name} was not uploaded: {reason}", { name: file.name, reason: error.message }) });
      }
    }
    if (sent) this.store.set({ announcement: t(sent === 1 ? "{n} file uploaded." : "{n} files uploaded.", { n: sent }) });
  }

  change(id, values) {
    this.store.set((state) => ({ uploads: state.uploads.map((each) => (each.id === id ? { ...each, ...values } : each)) }));
  }

  dismiss(id) {
    this.store.set((state) => ({ uploads: state.uploads.filter((each) => each.id !== id) }));
  }

  async addUrl(url) {
    await this.api.post("documents/url", { url });
    await this.list();
  }

  async remove(id) {
    await this.api.delete(`documents/${encodeURIComponent(id)}`);
    await this.list();
  }

  async reindex(id) {
    await this.api.post(`documents/${encodeURIComponent(id)}/index`);
    await this.list();
  }

  /** The text around a passage, with the place of the slice. */
  text(id, { start, end, around = 2000 }) {
    return this.api.get(`documents/${encodeURIComponent(id)}/text`, { start, end, around });
  }

  /** A page of a PDF as an image, with the passage highlighted. */
  page(id, number, { start, end }) {
    return this.api.blob(`documents/${encodeURIComponent(id)}/pages/${number}.png`, { start, end });
  }

  file(id) {
    return this.api.blob(`documents/${encodeURIComponent(id)}/file`);
  }

  async find(query, limit = 20) {
    return (await this.api.get("search", { q: query, limit })).hits;
  }
}

/** The folders of the documents, as choices of where to search: `[{path, count}]`. */
export function folders(documents) {
  const counts = new Map();
  for (const { source } of documents) {
    const folder = source.includes("/") && !/^[a-z]+:\/\//i.test(source) ? `${source.split("/")[0]}/` : null;
    if (folder) counts.set(folder, (counts.get(folder) ?? 0) + 1);
  }
  return [...counts].map(([path, count]) => ({ path, count })).sort((one, other) => one.path.localeCompare(other.path));
}

export function formatBytes(bytes) {
  if (!Number.isFinite(bytes)) return "";
  const units = ["B", "KB", "MB", "GB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value < 10 && unit ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}
