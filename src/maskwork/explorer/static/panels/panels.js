// The tabs at the side, and the panel that is open.
// @ts-check

/** @typedef {{id: string, title: string, mount: (root: HTMLElement, app: import("../main.js").App) => void}} Panel */

/** In the order of the tabs; a panel's module is loaded when it is opened first. */
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

/** @param {import("../main.js").App} app @param {HTMLElement} tabs @param {HTMLElement} place */
export function createPanels(app, tabs, place) {
  /** @type {Map<string, HTMLElement>} */
  const mounted = new Map();

  const buttons = PANELS.map(([id, title]) => {
    const button = document.createElement("button");
    button.type = "button";
    button.role = "tab";
    button.id = `tab-${id}`;
    button.textContent = title;
    button.setAttribute("aria-controls", "panel");
    button.addEventListener("click", () => app.state.set({ panel: id }));
    return button;
  });
  tabs.replaceChildren(...buttons);
  tabs.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const at = buttons.findIndex((button) => button === document.activeElement);
    const next = buttons[(at + step + buttons.length) % buttons.length];
    next.focus();
    next.click();
  });

  async function show() {
    const asked = app.state.get().panel;
    const id = PANELS.some(([known]) => known === asked) ? asked : "why";
    buttons.forEach((button, index) => {
      const selected = PANELS[index][0] === id;
      button.setAttribute("aria-selected", String(selected));
      button.tabIndex = selected ? 0 : -1;
      if (selected) tabs.scrollLeft = button.offsetLeft - tabs.offsetLeft - (tabs.clientWidth - button.clientWidth) / 2;
    });
    place.setAttribute("aria-labelledby", `tab-${id}`);
    let root = mounted.get(id);
    if (!root) {
      root = document.createElement("div");
      root.className = `panel-${id}`;
      mounted.set(id, root);
      try {
        const { panel } = await import(`./${id}.js`);
        panel.mount(root, app);
      } catch (error) {
        mounted.delete(id); // tried anew when it is opened again
        root.textContent = `This panel could not be loaded: ${error instanceof Error ? error.message : error}`;
      }
    }
    if (app.state.get().panel === asked) place.replaceChildren(root);
  }

  app.state.on(["panel"], () => void show());
  void show();
}
