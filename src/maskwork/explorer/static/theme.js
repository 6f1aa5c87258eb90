// The light or dark theme: the one chosen, or the system's.
// @ts-check

/**
 * Apply the theme of the state now and when it changes; `button` switches between light and dark.
 * @param {import("./state.js").Store} state
 * @param {HTMLElement} button
 * @returns {(listener: () => void) => void} registers a function that is called after the colours changed
 */
export function createTheme(state, button) {
  /** @type {(() => void)[]} */
  const listeners = [];
  const dark = matchMedia("(prefers-color-scheme: dark)");

  function apply() {
    const { theme } = state.get();
    document.documentElement.dataset.theme = theme === "auto" ? (dark.matches ? "dark" : "light") : theme;
    for (const listener of listeners) listener();
  }
  apply();
  dark.addEventListener("change", apply);
  state.on(["theme"], apply);
  button.addEventListener("click", () => {
    const shown = document.documentElement.dataset.theme;
    state.set({ theme: shown === "dark" ? "light" : "dark" });
  });
  return (listener) => void listeners.push(listener);
}
