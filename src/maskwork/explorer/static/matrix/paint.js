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
  const [from, to] = at < 1 ? [low, middle] : [middle, high];
  const part = at < 1 ? at : at - 1;
  const between = (/** @type {number} */ i) => Math.round(from[i] + (to[i] - from[i]) * part);
  return [between(0), between(1), between(2)]; // no map: this is done for a million pixels
}

/** The colour of a pixel of two masks: both, only left, only right, neither; where it holds several, their mixture.
 * @param {number} both @param {number} left @param {number} right @param {number} cells
 * @param {ReturnType<typeof palette>} [colours] @returns {Rgb} */
export function fourWay(both, left, right, cells, colours = palette()) {
  const neither = cells - both - left - right;
  const { all, left: one, right: two, none } = colours;
  const mixed = (/** @type {number} */ i) =>
    Math.round((both * all[i] + left * one[i] + right * two[i] + neither * none[i]) / Math.max(cells, 1));
  return [mixed(0), mixed(1), mixed(2)];
}

const bytes = Uint8Array.of(0, 0, 0, 255);
const word = new Uint32Array(bytes.buffer);

/** The colour as an image's pixel, in the machine's order of bytes. @param {Rgb} colour */
export function pixel([red, green, blue]) {
  bytes[0] = red;
  bytes[1] = green;
  bytes[2] = blue;
  return word[0];
}

/** @param {Rgb} colour */
export const css = ([r, g, b]) => `rgb(${r} ${g} ${b})`;
