// Take it away: the picture as PNG and SVG, the page as a link, and code that makes the mask elsewhere.
// @ts-check

import { button, choice, copies, follow, GRID, made, noticePlace, refuse, save } from "./parts.js";

/** @type {[string, string][]} */
const TARGETS = [
  ["maskwork", "maskwork"],
  ["flex", "FlexAttention"],
  ["sdpa", "SDPA"],
  ["hf", "Hugging Face"],
];

/** What is on the canvases, on the page's own ground. @returns {Promise<Blob>} */
function png() {
  const [cells, over] = /** @type {HTMLCanvasElement[]} */ (
    [".cells", ".over"].map((name) => document.querySelector(`#matrix ${name}`))
  );
  const canvas = made("canvas");
  canvas.width = cells.width;
  canvas.height = cells.height;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--card");
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(cells, 0, 0);
  context.drawImage(over, 0, 0);
  return new Promise((resolve, reject) =>
    canvas.toBlob(
      (blob) => (blob ? resolve(blob) : reject(new Error("The browser made no picture of it."))),
      "image/png",
    ),
  );
}

export const panel = {
  id: "take",
  title: "Export",
  /** @param {HTMLElement} root @param {import("../main.js").App} app */
  mount(root, app) {
    const pictureNotice = noticePlace();
    const notice = noticePlace();
    const source = made("pre", "code");
    source.tabIndex = 0;
    source.setAttribute("role", "region");
    source.setAttribute("aria-label", "Code");
    const targets = choice("Code for", TARGETS, (to) => app.state.remember("take", { to }));

    /** @param {() => Promise<[Blob, string]>} make */
    const saves = (make) => async () => {
      try {
        refuse(app, pictureNotice, null);
        save(...(await make()));
      } catch (error) {
        refuse(app, pictureNotice, error);
      }
    };
    const copy = copies(
      app,
      button("Copy", () => {}),
      () => source.textContent ?? "",
    );
    const link = copies(
      app,
      button("Copy link", () => {}),
      () => location.href,
    );
    const body = made("div", "source", source, copy);
    root.append(
      made("h2", "", "Take it away"),
      made("h3", "", "Picture"),
      made(
        "div",
        "fields",
        button(
          "PNG of what is shown",
          saves(async () => [await png(), "mask.png"]),
        ),
        button(
          "SVG of the whole",
          saves(async () => {
            const { svg } = await app.ask("svg", app.grid());
            return [new Blob([svg], { type: "image/svg+xml" }), "mask.svg"];
          }),
        ),
        link,
      ),
      pictureNotice,
      made("h3", "", "Code"),
      targets.root,
      notice,
      body,
    );

    const target = () => {
      const to = app.state.get().p.take?.to;
      return TARGETS.some(([name]) => name === to) ? to : "maskwork";
    };
    const again = follow(app, "take", GRID, {
      notice,
      body,
      length: 512,
      ask(signal) {
        targets.show(target());
        return app.ask("code", { ...app.grid(), to: target() }, signal);
      },
      show({ code }) {
        source.textContent = code;
        copy.disabled = false;
      },
    });
    app.state.on(["p"], (state, before) => state.p.take?.to !== before.p.take?.to && again());
    app.state.on(["p", ...GRID], () => (copy.disabled = body.classList.contains("stale")));
  },
};
