// Which cells are shown: one a class, of some operations, of some size, those in the box that was drawn.

import { SIZE, codesOf, space, twins } from './space.js'
import { datasetOf, variable } from './variables.js'
import { numbers, state } from './state.js'

export const FILTERS = ['view', 'ops', 'low', 'high', 'connected', 'twins'];
const IN_VIEW = {
  all: () => true,
  representatives: (index) => space.representatives[index] === index,
  smallest: (index) => space.smallest[index],
  families: (index) => space.families[index] === index,
};
let kept = { key: null, cells: null };

// Return the indices of the cells that pass the filters, ascending.
export function shownCells() {
  const dataset = datasetOf(state.y);
  const key = [...FILTERS.map((name) => state[name]), dataset.id].join(' ');
  if (kept.key === key) return kept.cells;
  const isIn = IN_VIEW[state.view];
  const masks = Array.from(state.ops, (digit) => parseInt(digit, 32));
  const allOperations = masks.every((mask) => mask === 31);
  const size = variable(`${dataset.id}/parameters`).values;
  const [low, high] = [state.low === '' ? 0 : Number(state.low), state.high === '' ? Infinity : Number(state.high)];
  const cells = [];
  for (let index = 0; index < SIZE; index++) {
    if (!isIn(index) || size[index] < low || size[index] > high) continue;
    if (state.connected && !space.connected[index]) continue;
    if (state.twins && !twins(index).length) continue;
    if (!allOperations && !codesOf(index).every((code, edge) => (masks[edge] >> code) & 1)) continue;
    cells.push(index);
  }
  kept = { key, cells };
  return cells;
}

// Return what tells whether a cell lies in the box that was drawn; null without one.
export function inBox() {
  const box = numbers(state.box);
  if (!box) return null;
  const [x0, x1, y0, y1] = box;
  const [x, y] = [coordinates(state.x, state.xs), coordinates(state.y, state.ys)];
  return (index) => x[index] >= x0 && x[index] <= x1 && y[index] >= y0 && y[index] <= y1;
}

// Values of a variable as an axis of that scale shows them.
export function coordinates(id, scale) {
  return scale === 'rank' ? variable(id).ranks : variable(id).values;
}
