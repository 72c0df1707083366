// Many points on a canvas, pixel by pixel: several times faster than its own drawing, and without WebGL.

import { LEVELS, css, shades } from './colours.js'
import { space } from './space.js'

const OPAQUE = 0.85;
const FAINT = 0.1;
const buffers = new WeakMap(); // pixels by canvas
const stamps = new Map(); // by radius

// How much of each pixel around a point it covers, for four places of its centre between pixels.
function stampsOf(radius) {
  if (!stamps.has(radius)) {
    const reach = Math.ceil(radius + 1);
    const at = (fx, fy) => {
      const stamp = [];
      for (let dy = -reach; dy <= reach; dy++) {
        for (let dx = -reach; dx <= reach; dx++) {
          const cover = Math.min(1, Math.max(0, radius + 0.5 - Math.hypot(dx - fx, dy - fy)));
          if (cover > 0) stamp.push({ dx, dy, cover });
        }
      }
      return stamp;
    };
    stamps.set(radius, { reach, four: [at(0, 0), at(0.5, 0), at(0, 0.5), at(0.5, 0.5)] });
  }
  return stamps.get(radius);
}

// Smaller where there are more.
export const radiusFor = (number) => Math.min(5, 1.7 + 70 / Math.sqrt(number + 1));

// Draw points at (x, y) in pixels of the page, in their colours; those that are faint lie below, and are hardly seen.
export function drawPoints(canvas, points, radius, ratio, isFaint) {
  const context = canvas.getContext('2d');
  const { width, height } = canvas;
  if (!width || !height) return;
  if (buffers.get(canvas)?.width !== width || buffers.get(canvas).height !== height) {
    buffers.set(canvas, context.createImageData(width, height));
  }
  const image = buffers.get(canvas);
  const pixels = image.data;
  pixels.fill(0);
  const colours = [...shades(), css('--faint')].map((colour) => colour.match(/\d+/g).map(Number));
  const { reach, four } = stampsOf(radius * ratio);
  const put = (place, strength) => {
    const [x, y] = [points.x[place] * ratio, points.y[place] * ratio];
    if (!(x > reach && y > reach && x < width - reach - 1 && y < height - reach - 1)) return;
    const [left, top] = [Math.floor(x), Math.floor(y)];
    const stamp = four[(x - left > 0.5 ? 1 : 0) + (y - top > 0.5 ? 2 : 0)];
    const [red, green, blue] = colours[points.level[place]];
    for (const { dx, dy, cover } of stamp) {
      const at = ((top + dy) * width + left + dx) * 4;
      const alpha = cover * strength;
      const below = (pixels[at + 3] / 255) * (1 - alpha);
      const both = alpha + below;
      pixels[at] = (red * alpha + pixels[at] * below) / both;
      pixels[at + 1] = (green * alpha + pixels[at + 1] * below) / both;
      pixels[at + 2] = (blue * alpha + pixels[at + 2] * below) / both;
      pixels[at + 3] = both * 255;
    }
  };
  const number = points.x.length;
  if (isFaint) for (let place = 0; place < number; place++) if (isFaint(place)) put(place, FAINT);
  for (let place = 0; place < number; place++) if (!isFaint?.(place)) put(place, OPAQUE);
  context.putImageData(image, 0, 0);
}

// Levels of colour for values. A few cells that fail would take the scale for themselves: for accuracies it begins at
// the first percentile of those whose signal reaches the output.
export function levelsOf(values, cells, kind) {
  const there = Array.from(cells).filter((index) => !Number.isNaN(values[index]) && space.connected[index]);
  const own = Float64Array.from(there, (index) => values[index]).sort();
  const least = kind === 'accuracy' ? own[Math.floor(own.length * 0.01)] : own[0];
  const most = own.at(-1);
  const level = Uint8Array.from(cells, (index) => {
    if (Number.isNaN(values[index])) return LEVELS;
    const share = most > least ? (values[index] - least) / (most - least) : 1;
    return Math.round(Math.min(1, Math.max(0, share)) * (LEVELS - 1));
  });
  return { level, least, most, isCut: kind === 'accuracy' && cells.some((index) => values[index] < least) };
}

// Place of the nearest point within so many pixels, or -1.
export function nearest(points, x, y, within) {
  let [best, distance] = [-1, within ** 2];
  for (let place = 0; place < points.x.length; place++) {
    const now = (points.x[place] - x) ** 2 + (points.y[place] - y) ** 2;
    if (now < distance) [best, distance] = [place, now];
  }
  return best;
}

// Place of the nearest point to the right, left, above or below of another, or -1.
export function nearestTowards(points, from, [dx, dy]) {
  let [best, distance] = [-1, Infinity];
  for (let place = 0; place < points.x.length; place++) {
    const [x, y] = [points.x[place] - points.x[from], points.y[place] - points.y[from]];
    const [along, aside] = [x * dx + y * dy, Math.abs(x * dy) + Math.abs(y * dx)];
    if (along > 0.5 && aside <= along && along + 2 * aside < distance) [best, distance] = [place, along + 2 * aside];
  }
  return best;
}

// Places of the points that no other beats in both, from left to right; `better` says which way is better on each axis.
export function front(x, y, [betterX, betterY]) {
  const order = Array.from(x.keys()).sort((one, other) => betterX * (x[other] - x[one]) || betterY * (y[other] - y[one]));
  const kept = [];
  for (const place of order) {
    const last = kept.at(-1);
    const equals = last !== undefined && x[last] === x[place] && y[last] === y[place];
    if (last === undefined || equals || betterY * (y[place] - y[last]) > 0) kept.push(place);
  }
  return kept;
}
