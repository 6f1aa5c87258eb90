// Numbers as text.
// @ts-check

const integers = new Intl.NumberFormat("en-US"); // shared: each call of toLocaleString creates a formatter

/**
 * Write an integer with separators of thousands.
 * @param {number} value
 */
export const formatInteger = (value) => integers.format(value);

/**
 * Write a share as a percentage. Only an exact 0 or 1 is written as 0 % or 100 %.
 * @param {number} share of 1
 */
export function formatPercent(share) {
  const value = share * 100;
  if (value === 0 || value === 100) return `${value} %`;
  if (value < 0.01) return `${value.toExponential(1)} %`;
  return `${value.toFixed(value < 1 ? 2 : 1)} %`;
}

/**
 * Write a value with its unit and a prefix such as k, M or Ki.
 * @param {number} value
 * @param {string} unit
 * @param {number} [base] 1000 or 1024
 */
export function formatUnit(value, unit, base = 1000) {
  const prefixes = base === 1024 ? ["", "Ki", "Mi", "Gi", "Ti", "Pi"] : ["", "k", "M", "G", "T", "P", "E"];
  let power = 0;
  while (value >= base && power < prefixes.length - 1) {
    value /= base;
    power += 1;
  }
  const decimals = power === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return `${value.toFixed(decimals)} ${prefixes[power]}${unit}`;
}
