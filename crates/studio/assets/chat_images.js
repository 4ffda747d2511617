// Images that go with a question: chosen, dropped or pasted, shown small, removable.
//
// A file goes as it is where the server takes it. Only one beyond the limits, or of a kind that models are
// not shown, is drawn again here, no smaller than it must be.

import { make } from "./dom.js";

/** What the server takes: its defaults for a request, and the limits on images of all readers. */
const MOST = 16;
const BYTES = 20 * 2 ** 20;
const SIDE = 16_384;
const PIXELS = 64_000_000;
const KINDS = ["image/png", "image/jpeg", "image/gif", "image/bmp", "image/webp"];
/** What an image that was drawn again at its own size may still be scaled by, a step at a time. */
const STEP = 0.7;

/** The images of the question being written, as a list on the page. */
export class Attachments {
  constructor(list, say) {
    this.list = list;
    this.say = say;
    this.images = [];
  }

  /** Takes files on; those that are no images are named and left out. */
  async add(files) {
    for (const file of files) {
      if (this.images.length >= MOST) {
        this.say(`A question has no more than ${MOST} images.`);
        break;
      }
      try {
        const { blob, note } = await fitting(file);
        this.images.push({ name: file.name || "pasted image", data: await dataAddress(blob) });
        if (note) this.say(`${file.name}: ${note}`);
      } catch {
        this.say(`${file.name || "This"} is no image that can be read here.`);
      }
    }
    this.show();
  }

  /** Gives the images away and begins anew. */
  take() {
    const { images } = this;
    this.set([]);
    return images;
  }

  set(images) {
    this.images = [...images];
    this.show();
  }

  show() {
    this.list.replaceChildren(...this.images.map((image, at) => {
      const remove = make("button", { type: "button", className: "quiet", textContent: "Remove" });
      remove.setAttribute("aria-label", `Remove ${image.name}`);
      remove.addEventListener("click", () => {
        this.images.splice(at, 1);
        this.show();
        (this.list.querySelectorAll("button")[at] ?? this.list.querySelector("button") ?? document.querySelector("#question")).focus();
      });
      return make("li", {}, make("img", { src: image.data, alt: image.name }), remove);
    }));
    this.list.hidden = this.images.length === 0;
  }
}

/** The file, or a drawing of it that the server takes. */
async function fitting(file) {
  const bitmap = await createImageBitmap(file);
  const { width, height } = bitmap;
  let scale = Math.min(1, SIDE / Math.max(width, height), Math.sqrt(PIXELS / (width * height)));
  if (scale === 1 && file.size <= BYTES && KINDS.includes(file.type)) {
    bitmap.close();
    return { blob: file };
  }
  for (;;) {
    const blob = await drawn(bitmap, scale, "image/png");
    if (blob.size <= BYTES) {
      bitmap.close();
      const note = scale < 1 ? `scaled to ${Math.round(width * scale)} pixels across, to fit` : "";
      return { blob, note };
    }
    scale *= STEP;
  }
}

function drawn(bitmap, scale, type) {
  const canvas = make("canvas", {
    width: Math.max(1, Math.round(bitmap.width * scale)),
    height: Math.max(1, Math.round(bitmap.height * scale)),
  });
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return new Promise((done, failed) => {
    canvas.toBlob((blob) => (blob ? done(blob) : failed(new Error("no room for the image"))), type);
  });
}

function dataAddress(blob) {
  return new Promise((done, failed) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => done(reader.result));
    reader.addEventListener("error", () => failed(reader.error));
    reader.readAsDataURL(blob);
  });
}
