// A cell as a drawing, laid out and coloured as `cells.drawing` does; and as six small squares.

import { EDGES, LONG, OPERATIONS, SHORT, codesOf, liveEdges } from './space.js'
import { about } from './data.js'
import { element } from './format.js'
import { operationColour } from './colours.js'
import { update } from './state.js'

const RADIUS = 14; // of a node

// Return the drawing. With `choose(edge, code)` edges are buttons that open a menu of operations.
export function drawCell(index, choose = null) {
  const codes = codesOf(index);
  const live = liveEdges(codes);
  const title = EDGES.map(([source, target], edge) => `${source} to ${target}: ${LONG[OPERATIONS[codes[edge]]]}`).join('; ');
  const attributes = { viewBox: '8 4 284 180', role: choose ? 'group' : 'img', 'aria-label': `Cell ${index}. ${title}` };
  const svg = element('svg.drawing', attributes);
  codes.forEach((code, edge) => svg.append(drawEdge(edge, code, live.includes(edge), choose)));
  const { nodes, labels } = about.space.picture;
  nodes.forEach(([x, y], node) =>
    svg.append(element('circle.node', { cx: x, cy: y, r: RADIUS }), element('text.node-name', { x, y: y + 3.6 }, labels[node])),
  );
  return svg;
}

function drawEdge(edge, code, isLive, choose) {
  const name = OPERATIONS[code];
  const [source, target] = EDGES[edge];
  const [[x1, y1], [x2, y2]] = [source, target].map((node) => about.space.picture.nodes[node]);
  const [x, y] = [(x1 + x2) / 2, (y1 + y2) / 2];
  const turn = Math.atan2(y2 - y1, x2 - x1);
  const [hx, hy] = [x2 - (RADIUS + 1) * Math.cos(turn), y2 - (RADIUS + 1) * Math.sin(turn)];
  const path = `M${x1} ${y1}L${hx - 6 * Math.cos(turn)} ${hy - 6 * Math.sin(turn)}`;
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
  const width = 42;
  const drawn = element(kind, attributes, element('title', {}, label), element('path.wide', { d: path }), element('path.line', { d: path }));
  drawn.append(element('path.head', { d: 'M0 0L-8 -4.2V4.2Z', transform: `translate(${hx} ${hy}) rotate(${(turn * 180) / Math.PI})` }));
  drawn.append(element('rect.chip', { x: x - width / 2, y: y - 10, width, height: 20, rx: 10 }));
  drawn.append(element('text.chip-name', { x, y: y + 3.8 }, SHORT[name]));
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
