// Export: the picture as PNG and SVG, the page as a link, and code that makes the mask elsewhere.
// @ts-check

import { contextOf } from "../matrix/paint.js";
import { follow, GRID } from "./follow.js";
import { make, makeButton, makeChoice, makeNotice, showError } from "./parts.js";

/** @typedef {import("../main.js").App} App */

/** @type {[string, string][]} */
const TARGETS = [
  ["maskwork", "maskwork"],
  ["flex", "FlexAttention"],
  ["sdpa", "SDPA"],
  ["hf", "Hugging Face"],
];
const SHORTER = 512; // the length that is offered where the state's is too long
const COPIED = 1500; // ms that a button says so
const DOWNLOAD = 10_000; // ms until the file may be dropped

/** Return what is on the canvases, on the page's background. @returns {Promise<Blob>} */
function makePng() {
  const [cells, over] = /** @type {HTMLCanvasElement[]} */ (
    [".cells", ".over"].map((name) => document.querySelector(`#matrix ${name}`))
  );
  const canvas = make("canvas");
  canvas.width = cells.width;
  canvas.height = cells.height;
  const context = contextOf(canvas);
  context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--card");
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(cells, 0, 0);
  context.drawImage(over, 0, 0);
  return new Promise((resolve, reject) =>
    canvas.toBlob(
      (blob) => (blob ? resolve(blob) : reject(new Error("the browser could not make the PNG"))),
      "image/png",
    ),
  );
}

/** @param {Blob} blob @param {string} name */
function saveFile(blob, name) {
  const link = make("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), DOWNLOAD);
}

/** Create a button that copies a text and says so. @param {App} app @param {string} label @param {() => string} text */
function makeCopyButton(app, label, text) {
  const button = makeButton(label, async () => {
    try {
      await navigator.clipboard.writeText(text());
      button.textContent = "Copied";
    } catch {
      button.textContent = "The browser does not allow copying";
    }
    app.announce(button.textContent);
    setTimeout(() => (button.textContent = label), COPIED);
  });
  return button;
}

/**
 * Create the buttons that save the picture.
 * @param {App} app
 * @param {HTMLElement} notice
 */
function makeSaveButtons(app, notice) {
  /** @param {string} text @param {string} file @param {() => Promise<Blob>} makeBlob */
  const saveButton = (text, file, makeBlob) =>
    makeButton(text, async () => {
      try {
        showError(app, notice, null);
        saveFile(await makeBlob(), file);
      } catch (error) {
        showError(app, notice, error);
      }
    });
  return [
    saveButton("PNG of what is shown", "mask.png", makePng),
    saveButton("SVG of the whole", "mask.svg", async () => {
      const { svg } = await app.ask("svg", app.grid());
      return new Blob([svg], { type: "image/svg+xml" });
    }),
  ];
}

function makeSource() {
  const source = make("pre", "code");
  source.tabIndex = 0;
  source.setAttribute("role", "region");
  source.setAttribute("aria-label", "Code");
  return source;
}

export const panel = {
  id: "take",
  title: "Export",
  /** @param {HTMLElement} root @param {App} app */
  mount(root, app) {
    const [pictureNotice, notice] = [makeNotice(), makeNotice()];
    const source = makeSource();
    const targets = makeChoice("Code for", TARGETS, (to) => app.state.remember("take", { to }));
    const copy = makeCopyButton(app, "Copy", () => source.textContent ?? "");
    const link = makeCopyButton(app, "Copy link", () => location.href);
    const body = make("div", "source", source, copy);
    root.append(
      make("h2", "", "Export"),
      make("h3", "", "Picture"),
      make("div", "fields", ...makeSaveButtons(app, pictureNotice), link),
      pictureNotice,
      make("h3", "", "Code"),
      targets.root,
      notice,
      body,
    );

    const target = () => {
      const to = app.state.get().p.take?.to;
      return TARGETS.some(([name]) => name === to) ? to : "maskwork";
    };
    const askAgain = follow(app, "take", GRID, {
      notice,
      body,
      length: SHORTER,
      ask(signal) {
        targets.show(target());
        return app.ask("code", { ...app.grid(), to: target() }, signal);
      },
      show({ code }) {
        source.textContent = code;
        copy.disabled = false;
      },
    });
    app.state.on(["p"], (state, previous) => state.p.take?.to !== previous.p.take?.to && askAgain());
    // Code of the state before must not be copied.
    app.state.on(["p", ...GRID], () => (copy.disabled = body.classList.contains("stale")));
  },
};
