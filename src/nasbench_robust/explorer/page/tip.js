// What a landscape says of the cell under the pointer, and to those who listen.

import { byId, element, number } from './format.js'
import { glyph } from './drawing.js'
import { variable } from './variables.js'
import { state } from './state.js'

function facts(landscape, index) {
  const shown = [...new Set([landscape.variable('x'), landscape.variable('y'), variable(state.c)])];
  return shown.map((each) => [each.title, number(each.values[index], each.kind)]);
}

export function describe(landscape, index) {
  return `Cell ${index}: ${facts(landscape, index).map((pair) => pair.join(' ')).join(', ')}`;
}

export function showTip(landscape, index) {
  const tip = byId('tip');
  tip.hidden = index === null;
  if (index === null) return;
  const rows = facts(landscape, index).map(([name, value]) => element('div', {}, element('span', {}, name), element('b', {}, value)));
  tip.replaceChildren(element('div.tip-head', {}, element('b', {}, String(index)), glyph(index)), ...rows);
  const [x, y] = landscape.position(index);
  const box = landscape.plot.over.getBoundingClientRect();
  const right = box.left + x + 18 + tip.offsetWidth < innerWidth;
  tip.style.left = `${box.left + x + (right ? 18 : -18 - tip.offsetWidth)}px`;
  tip.style.top = `${Math.max(8, Math.min(innerHeight - tip.offsetHeight - 8, box.top + y - tip.offsetHeight / 2))}px`;
}
