// The tabs at the side, and the panel that is open.
// @ts-check

import { clickNext, make } from "./parts.js";

/** @typedef {import("../main.js").App} App */
/** @typedef {{id: string, title: string, mount: (root: HTMLElement, app: App) => void}} Panel */

/** Id and title, in the order of the tabs. A panel's module is loaded when the panel is first opened. */
const PANELS = [
  ["why", "Why"],
  ["softmax", "Softmax"],
  ["patterns", "Patterns"],
  ["play", "Train & decode"],
  ["cost", "Cost"],
  ["depth", "Depth"],
  ["compare", "Compare"],
  ["model", "Model"],
  ["take", "Export"],
];

/** @param {App} app @param {HTMLElement} root */
function createTabs(app, root) {
  const buttons = PANELS.map(([id, title]) => {
    const button = make("button", "", title);
    Object.assign(button, { type: "button", role: "tab", id: `tab-${id}` });
    button.setAttribute("aria-controls", "panel");
    button.addEventListener("click", () => app.state.set({ panel: id }));
    return button;
  });
  root.replaceChildren(...buttons);
  root.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) clickNext(buttons, step);
  });
  return {
    /** @param {string} id of the panel that is open */
    select(id) {
      buttons.forEach((button, index) => {
        const selected = PANELS[index][0] === id;
        button.setAttribute("aria-selected", String(selected));
        button.tabIndex = selected ? 0 : -1;
        if (selected) {
          const margin = (root.clientWidth - button.clientWidth) / 2;
          root.scrollLeft = button.offsetLeft - root.offsetLeft - margin;
        }
      });
    },
  };
}

/**
 * Create the tabs, and open the state's panel.
 * @param {App} app
 * @param {HTMLElement} tabRoot
 * @param {HTMLElement} panelRoot
 */
export function createPanels(app, tabRoot, panelRoot) {
  const tabs = createTabs(app, tabRoot);
  /** @type {Map<string, HTMLElement>} */
  const mounted = new Map();

  /** @param {string} id @returns {Promise<HTMLElement>} */
  async function mount(id) {
    const root = make("div", `panel-${id}`);
    mounted.set(id, root);
    try {
      const { panel } = await import(`./${id}.js`);
      /** @type {Panel} */ (panel).mount(root, app);
    } catch (error) {
      mounted.delete(id); // the next opening tries again
      root.textContent = `This panel could not be loaded: ${error instanceof Error ? error.message : error}`;
    }
    return root;
  }

  async function show() {
    const wanted = app.state.get().panel;
    const id = PANELS.some(([known]) => known === wanted) ? wanted : "why";
    tabs.select(id);
    panelRoot.setAttribute("aria-labelledby", `tab-${id}`);
    const root = mounted.get(id) ?? (await mount(id));
    if (app.state.get().panel === wanted) panelRoot.replaceChildren(root);
  }

  app.state.on(["panel"], () => void show());
  void show();
}
