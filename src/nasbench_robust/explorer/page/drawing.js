// A cell as a drawing: four nodes in a row, six edges as arcs, each with its operation; and as six small squares.

import { EDGES, LONG, OPERATIONS, SHORT, codesOf, liveEdges } from './space.js'
import { element } from './format.js'
import { operationColour } from './colours.js'
import { update } from './state.js'

const NODES = [28, 148, 268, 388]; // x of the nodes
const LINE = 112; // y of the nodes
const HEIGHTS = [0, -50, 0, -100, 56, 0]; // of the middle of each edge's arc over the line of nodes

function arc(edge) {
  const [from, to] = EDGES[edge].map((node) => NODES[node]);
  const middle = (from + to) / 2;
  if (!HEIGHTS[edge]) return { path: `M${from + 13} ${LINE}H${to - 19}`, x: middle, y: LINE, head: [to - 13, LINE, 0] };
  const up = Math.sign(HEIGHTS[edge]);
  const [x0, x1, y] = [from + 7, to - 7, LINE + up * 12];
  const top = LINE + HEIGHTS[edge] * 4 / 3 - up * 4; // of the control points, so that the curve's middle is at the height
  const slope = Math.atan2(y - top, x1 - (middle + (to - from) * 0.3)) * 180 / Math.PI;
  const path = `M${x0} ${y}C${x0 + (to - from) * 0.12} ${top} ${x1 - (to - from) * 0.12} ${top} ${x1} ${y}`;
  return { path, x: middle, y: (y + 3 * top) / 4, head: [x1, y, Math.abs(slope) > 60 ? slope : up < 0 ? 68 : -68] };
}

// Return the drawing. With `choose(edge, code)` edges are buttons that open a menu of operations.
export function drawCell(index, choose = null) {
  const codes = codesOf(index);
  const live = liveEdges(codes);
  const title = EDGES.map(([source, target], edge) => `${source} to ${target}: ${LONG[OPERATIONS[codes[edge]]]}`).join('; ');
  const attributes = { viewBox: '0 0 416 186', role: choose ? 'group' : 'img', 'aria-label': `Cell ${index}. ${title}` };
  const svg = element('svg.drawing', attributes);
  const order = [3, 1, 4, 0, 2, 5]; // long arcs first, so that short edges lie on top
  for (const edge of order) svg.append(drawEdge(edge, codes[edge], live.includes(edge), choose));
  NODES.forEach((x, node) => {
    const name = { 0: 'in', 3: 'out' }[node] ?? String(node);
    svg.append(element('circle.node', { cx: x, cy: LINE, r: 13 }), element('text.node-name', { x, y: LINE + 4 }, name));
  });
  return svg;
}

function drawEdge(edge, code, isLive, choose) {
  const { path, x, y, head } = arc(edge);
  const name = OPERATIONS[code];
  const [source, target] = EDGES[edge];
  const label = `Edge ${source} to ${target}: ${LONG[name]}${isLive || !code ? '' : ', carries no signal'}`;
  const kind = `g.edge${isLive ? '' : '.dead'}${code ? '' : '.empty'}`;
  const attributes = { style: `--op: ${operationColour(code)}`, 'data-edge': edge, 'data-operation': name };
  const open = (event) => openMenu(event.currentTarget, edge, code, choose);
  if (choose) {
    Object.assign(attributes, { role: 'button', tabindex: 0, 'aria-haspopup': 'menu', 'aria-label': `${label}. Change it`, onclick: open });
    attributes.onkeydown = (event) => {
      if (event.key === 'Enter' || event.key === ' ') event.preventDefault(), open(event);
      if (/^[1-5]$/.test(event.key)) choose(edge, Number(event.key) - 1);
    };
  }
  const width = 46;
  const drawn = element(kind, attributes, element('title', {}, label), element('path.wide', { d: path }), element('path.line', { d: path }));
  const [hx, hy, turn] = head;
  drawn.append(element('path.head', { d: 'M0 0L-8 -4.2V4.2Z', transform: `translate(${hx} ${hy}) rotate(${turn})` }));
  drawn.append(element('rect.chip', { x: x - width / 2, y: y - 11, width, height: 22, rx: 11 }));
  drawn.append(element('text.chip-name', { x, y: y + 4.5 }, SHORT[name]));
  return drawn;
}

// ------------------------------------------------------------------ the menu of an edge

function openMenu(anchor, edge, code, choose) {
  closeMenu();
  const [source, target] = EDGES[edge];
  const items = OPERATIONS.map((name, each) =>
    element(
      'button.menu-item',
      { role: 'menuitemradio', 'aria-checked': String(each === code), 'data-choice': name, onclick: () => pick(each), style: `--op: ${operationColour(each)}` },
      element('span.swatch'),
      LONG[name],
      element('kbd', {}, String(each + 1)),
    ),
  );
  const menu = element('div.menu', { id: 'edge-menu', role: 'menu', 'aria-label': `Operation of edge ${source} to ${target}` }, items);
  const pick = (each) => {
    closeMenu();
    choose(edge, each);
    document.querySelector(`#cell [data-edge="${edge}"]`)?.focus();
  };
  menu.addEventListener('keydown', (event) => {
    const at = items.indexOf(document.activeElement);
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) event.preventDefault(), items[(at + step + items.length) % items.length].focus();
    if (/^[1-5]$/.test(event.key)) pick(Number(event.key) - 1);
    if (event.key === 'Escape') closeMenu(), anchor.focus();
    if (event.key === 'Tab') closeMenu();
  });
  document.body.append(menu);
  const box = anchor.querySelector('.chip').getBoundingClientRect();
  const left = Math.min(Math.max(8, box.left + box.width / 2 - menu.offsetWidth / 2), innerWidth - menu.offsetWidth - 8);
  const below = box.bottom + 6 + menu.offsetHeight < innerHeight;
  menu.style.left = `${left + scrollX}px`;
  menu.style.top = `${(below ? box.bottom + 6 : box.top - menu.offsetHeight - 6) + scrollY}px`;
  items[code].focus();
  setTimeout(() => document.addEventListener('pointerdown', closeOutside));
}

function closeOutside(event) {
  if (!event.target.closest('#edge-menu')) closeMenu();
}

function closeMenu() {
  document.getElementById('edge-menu')?.remove();
  document.removeEventListener('pointerdown', closeOutside);
}

// ------------------------------------------------------------------ small forms

// Six squares, grouped by the node that the edges enter.
export function glyph(index) {
  const codes = codesOf(index);
  const live = liveEdges(codes);
  const squares = codes.map((code, edge) =>
    element(`i.${live.includes(edge) ? 'live' : 'dead'}`, { style: `--op: ${operationColour(code)}`, 'data-first': [1, 3].includes(edge) || null }),
  );
  return element('span.glyph', { role: 'img', 'aria-label': codes.map((code) => SHORT[OPERATIONS[code]]).join(', ') }, squares);
}

// A button that leads to a cell.
export function cellButton(index) {
  return element('button.chip', { 'data-cell': index, onclick: () => update({ cell: index }) }, glyph(index), String(index));
}
