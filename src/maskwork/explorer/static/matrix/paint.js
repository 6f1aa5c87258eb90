// The colour of a density. Lightness alone distinguishes none, part and all, so that no colour is needed to read it.
// @ts-check

/** @typedef {[number, number, number]} Rgb */

/** @type {Record<string, {none: Rgb, part: Rgb[], all: Rgb, left: Rgb, right: Rgb, stripe: Rgb, dot: Rgb}>} */
const PALETTES = {
  light: {
    none: [255, 255, 255],
    part: [[250, 218, 150], [242, 185, 80], [201, 119, 43]],
    all: [29, 78, 137],
    left: [242, 185, 80],
    right: [122, 55, 139],
    stripe: [74, 45, 0],
    dot: [255, 255, 255],
  },
  dark: {
    none: [18, 24, 31],
    part: [[88, 62, 22], [138, 92, 30], [222, 164, 72]],
    all: [142, 197, 255],
    left: [222, 164, 72],
    right: [196, 140, 214],
    stripe: [58, 36, 4],
    dot: [44, 10, 56],
  },
};

/** Return the colours of the page's theme. */
export function palette() {
  return PALETTES[document.documentElement.dataset.theme === "dark" ? "dark" : "light"];
}

/**
 * Return the colour of `count` allowed pairs among `cells`. Only an exact 0 or all has the colour of none or all.
 * @param {number} count
 * @param {number} cells
 * @param {ReturnType<typeof palette>} [colours]
 * @returns {Rgb}
 */
export function ramp(count, cells, colours = palette()) {
  if (count === 0 || cells === 0) return colours.none;
  if (count === cells) return colours.all;
  const [low, middle, high] = colours.part;
  const halves = (count / cells) * 2;
  const [from, to] = halves < 1 ? [low, middle] : [middle, high];
  const part = halves < 1 ? halves : halves - 1;
  const mix = (/** @type {number} */ i) => Math.round(from[i] + (to[i] - from[i]) * part);
  return [mix(0), mix(1), mix(2)]; // no map: this runs for a million pixels
}

/**
 * Return the colour of a pixel of two masks: both, only left, only right, neither, or the mixture of several.
 * @param {number} both pairs
 * @param {number} left
 * @param {number} right
 * @param {number} cells
 * @param {ReturnType<typeof palette>} [colours]
 * @returns {Rgb}
 */
export function fourWay(both, left, right, cells, colours = palette()) {
  const neither = cells - both - left - right;
  const { all, left: one, right: two, none } = colours;
  const mix = (/** @type {number} */ i) =>
    Math.round((both * all[i] + left * one[i] + right * two[i] + neither * none[i]) / Math.max(cells, 1));
  return [mix(0), mix(1), mix(2)];
}

const bytes = Uint8Array.of(0, 0, 0, 255);
const word = new Uint32Array(bytes.buffer);

/**
 * Return the colour as a pixel of an image, in the machine's order of bytes.
 * @param {Rgb} colour
 */
export function pixel([red, green, blue]) {
  bytes[0] = red;
  bytes[1] = green;
  bytes[2] = blue;
  return word[0];
}

/**
 * Return the colour as CSS writes it.
 * @param {Rgb} colour
 */
export const css = ([r, g, b]) => `rgb(${r} ${g} ${b})`;

/**
 * Return the drawing context of a canvas.
 * @param {HTMLCanvasElement} canvas
 */
export const contextOf = (canvas) => /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
