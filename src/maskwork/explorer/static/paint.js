// Which colour a density has. Lightness alone tells nothing, part and all apart, so that no colour is needed to read it.
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

export function palette() {
  return PALETTES[document.documentElement.dataset.theme === "dark" ? "dark" : "light"];
}

/** The colour of `count` allowed pairs among `cells`: "none" and "all" are said only where they are exactly so.
 * @param {number} count @param {number} cells @param {ReturnType<typeof palette>} [colours] @returns {Rgb} */
export function ramp(count, cells, colours = palette()) {
  if (count === 0 || cells === 0) return colours.none;
  if (count === cells) return colours.all;
  const [low, middle, high] = colours.part;
  const at = (count / cells) * 2;
  const [from, to, part] = at < 1 ? [low, middle, at] : [middle, high, at - 1];
  return /** @type {Rgb} */ (from.map((value, i) => Math.round(value + (to[i] - value) * part)));
}

/** The colour of a pixel of two masks: both, only left, only right, neither; where it holds several, their mixture.
 * @param {number} both @param {number} left @param {number} right @param {number} cells
 * @param {ReturnType<typeof palette>} [colours] @returns {Rgb} */
export function fourWay(both, left, right, cells, colours = palette()) {
  const neither = cells - both - left - right;
  const mixed = [0, 1, 2].map((i) =>
    (both * colours.all[i] + left * colours.left[i] + right * colours.right[i] + neither * colours.none[i]) /
    Math.max(cells, 1));
  return /** @type {Rgb} */ (mixed.map(Math.round));
}

const bytes = new Uint8ClampedArray(4);
const word = new Uint32Array(bytes.buffer);

/** The colour as an image's pixel, in the machine's order of bytes. @param {Rgb} colour */
export function pixel(colour) {
  bytes.set(colour);
  bytes[3] = 255;
  return word[0];
}

/** @param {Rgb} colour */
export const css = ([r, g, b]) => `rgb(${r} ${g} ${b})`;
