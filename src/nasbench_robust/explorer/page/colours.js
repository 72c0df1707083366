// Colours: of operations, of values (viridis), of pins; all told apart by every kind of colour vision.

import { OPERATIONS } from './space.js'

export const PINS = ['A', 'B', 'C', 'D'];
export const LEVELS = 48; // shades of a colour scale

const VIRIDIS = ['#440154', '#482475', '#414487', '#355f8d', '#2a788e', '#21918c', '#22a884', '#44bf70', '#7ad151', '#bddf26', '#fde725'];

export const operationColour = (code) => `var(--op-${OPERATIONS[code]})`;

export function isDark() {
  return Number(css('--ink').match(/\d+/)[0]) > 128;
}

const known = new Map(); // of custom properties, in the theme that is on

// The colour that a custom property has in the theme that is on.
export function css(name) {
  if (!known.has(name)) {
    const probe = document.getElementById('probe');
    probe.style.color = `var(${name})`;
    known.set(name, getComputedStyle(probe).color);
  }
  return known.get(name);
}

export function forgetColours() {
  known.clear();
}

// A shade for a share in [0, 1]. On white the lightest fifth of viridis is hard to see, on black the darkest.
export function shade(share) {
  const [from, to] = isDark() ? [0.18, 1] : [0, 0.86];
  const place = (from + (to - from) * Math.min(1, Math.max(0, share))) * (VIRIDIS.length - 1);
  const low = Math.min(Math.floor(place), VIRIDIS.length - 2);
  const mix = [1, 3, 5].map((at) => {
    const [one, other] = [VIRIDIS[low], VIRIDIS[low + 1]].map((hex) => parseInt(hex.slice(at, at + 2), 16));
    return Math.round(one + (other - one) * (place - low));
  });
  return `rgb(${mix.join(' ')})`;
}

export function shades() {
  return Array.from({ length: LEVELS }, (_, level) => shade(level / (LEVELS - 1)));
}
