// Files that go with the next question: chosen, pasted or dropped, checked, and encoded to be sent.

import { t } from "./i18n.js";
import { formatBytes } from "./library.js";

const MOST = 10;
const IMAGES = new Set(["image/png", "image/jpeg", "image/gif", "image/webp"]);
const LARGE_IMAGE = 1_500_000;
const LONGEST_SIDE = 2048;

let added = 0;

export class Attachments {
  /** @param {{store, notices}} parts */
  constructor({ store, notices }) {
    Object.assign(this, { store, notices });
  }

  /** Add files to the next question; those that cannot go with it are named in a notice. */
  add(files) {
    for (const file of files) {
      const reason = this.fault(file);
      if (reason) {
        this.notices.error({ message: t("{name} is not attached: {reason}", { name: file.name, reason }) });
        continue;
      }
      const preview = IMAGES.has(file.type) ? URL.createObjectURL(file) : null;
      const attachment = { id: (added += 1), name: file.name, file, preview };
      this.store.set((state) => ({ attachments: [...state.attachments, attachment] }));
    }
  }

  /** Why a file cannot go with a question, "" where it can. */
  fault(file) {
    const { server, model, attachments } = this.store.get();
    if (attachments.length >= MOST) return t("{n} files is the most that go with a question.", { n: MOST });
    if (IMAGES.has(file.type) && server?.extractive && !model) return t("Images need a language model.");
    // Base64 is a third longer than the file.
    const most = Math.floor((server?.limits?.body_bytes ?? Infinity) * 0.74);
    const total = [...attachments, { file }].reduce((sum, each) => sum + (isReduced(each.file) ? 0 : each.file.size), 0);
    return total > most ? t("Files of a question have at most {size} together.", { size: formatBytes(most) }) : "";
  }

  remove(id) {
    this.store.set(({ attachments }) => ({ attachments: attachments.filter((each) => each.id !== id) }));
  }

  /** Take all files from the composer, to be sent. */
  take() {
    const { attachments } = this.store.get();
    this.store.set({ attachments: [] });
    return attachments;
  }

  /** Put files back that could not be sent. */
  restore(files) {
    this.store.set(({ attachments }) => ({ attachments: [...files, ...attachments] }));
  }
}

/** Files as the API takes them: `[{name, data}]`, the content in base64. */
export function encoded(attachments) {
  return Promise.all(attachments.map(async ({ name, file }) => ({ name, data: await base64(await reduced(file)) })));
}

const isReduced = ({ type, size }) => IMAGES.has(type) && type !== "image/gif" && size > LARGE_IMAGE;

/** A large photograph with fewer pixels: models scale images down as well. */
async function reduced(file) {
  if (!isReduced(file)) return file;
  const image = await createImageBitmap(file).catch(() => null);
  if (!image) return file;
  const scale = Math.min(1, LONGEST_SIDE / Math.max(image.width, image.height));
  const canvas = new OffscreenCanvas(Math.round(image.width * scale), Math.round(image.height * scale));
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas.convertToBlob({ type: "image/jpeg", quality: 0.88 });
}

async function base64(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  const pieces = [];
  for (let at = 0; at < bytes.length; at += 0x8000) pieces.push(String.fromCharCode(...bytes.subarray(at, at + 0x8000)));
  return btoa(pieces.join(""));
}
