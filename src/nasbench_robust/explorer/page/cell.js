// The cell that is looked at: its drawing to change, what it is the same as, its values, what lies one edit away.

import { EDGES, LONG, OPERATIONS, SHORT, cellString, codesOf, depth, liveEdges, members, space, twins, withEdge } from './space.js'
import { byId, copy, element, integer, number, say, signed, toast } from './format.js'
import { datasets } from './data.js'
import { operationColour, shade } from './colours.js'
import { datasetOf, mainMetric, metricLabel } from './variables.js'
import { pins, state, togglePin, update, watch } from './state.js'
import { cellButton, drawCell } from './drawing.js'
import { valueTables } from './values.js'
import { curves, images, runsOf } from './evidence.js'

let edit = null; // {from, to}: the last change of an edge, as long as its result is looked at
let latest = 0; // so that curves that arrive late are not shown beside another cell

export function openCell() {
  watch(['cell', 'y', 'x'], showCell);
  watch(['pins'], showPin);
  watch(['image'], showEvidence);
  showCell();
}

function change(edge, code) {
  const from = state.cell;
  const to = withEdge(from, edge, code);
  if (to === from) return;
  edit = { from, to };
  const metric = mainMetric(state);
  const [before, after] = [metric.values[from], metric.values[to]];
  update({ cell: to });
  say(`Cell ${to}. ${metricLabel(metric)} ${number(after, 'accuracy')}, ${signed(after - before)}.`);
}

function showCell() {
  const index = state.cell;
  if (edit && edit.to !== index) edit = null;
  byId('cell-title').textContent = `Cell ${index}`;
  byId('find').value = '';
  const focused = document.activeElement?.closest?.('#drawing [data-edge]')?.dataset.edge;
  byId('drawing').replaceChildren(drawCell(index, change));
  if (focused) byId('drawing').querySelector(`[data-edge="${focused}"]`).focus();
  byId('string').textContent = cellString(index);
  byId('string').onclick = () => copy(cellString(index), 'String');
  showEdit();
  showPin();
  byId('facts').replaceChildren(...facts(index));
  byId('values').replaceChildren(...valueTables(index, edit && edit.from, datasetOf(state.y)));
  showNeighbours(index);
  showEvidence();
}

function showEdit() {
  byId('edit').hidden = !edit;
  if (!edit) return;
  const [before, after] = [codesOf(edit.from), codesOf(edit.to)];
  const edge = before.findIndex((code, place) => code !== after[place]);
  const [source, target] = EDGES[edge];
  const [old, now] = [before, after].map((codes) => SHORT[OPERATIONS[codes[edge]]]);
  byId('edit').replaceChildren(
    element('span', {}, `${source} → ${target}: ${old} became ${now}.`),
    element('button.link', { onclick: () => update({ cell: edit.from }) }, `Back to ${edit.from}`),
  );
}

function showPin() {
  const isPinned = pins().includes(state.cell);
  byId('pin').setAttribute('aria-pressed', String(isPinned));
  byId('pin').textContent = isPinned ? 'Pinned' : 'Pin to compare';
  byId('pin').onclick = () => togglePin(state.cell) || toast('Four cells are pinned already: remove one first.');
}

function facts(index) {
  const own = members(index);
  const others = own.filter((each) => each !== index);
  const dataset = datasetOf(state.y);
  const codes = codesOf(index);
  const [one, three] = ['nor_conv_1x1', 'nor_conv_3x3'].map((name) => codes.filter((code) => OPERATIONS[code] === name).length);
  const trained = space.representatives[index];
  const list = (cells, most) => [...cells.slice(0, most).map((each) => cellButton(each)), cells.length > most ? element('span.note', {}, `and ${integer(cells.length - most)} more`) : null];
  const dead = codes.filter((code) => code).length - liveEdges(codes).length;
  const rows = [
    ['trained as', trained === index ? 'itself, the first of its class' : list([trained], 1)],
    ['same graph', others.length ? list(others, 6) : 'no other cell'],
    ['same function', twins(index).length ? list(twins(index), 6) : 'no other class'],
    ['signal', space.connected[index] ? `reaches the output${dead ? `; ${dead} edge${dead > 1 ? 's carry' : ' carries'} none` : ''}` : 'does not reach the output'],
    ['depth', space.connected[index] ? `${depth(index)} convolutions in a row` : '–'],
    ['parameters', `${integer(dataset.size('parameters', one, three))} on ${dataset.name}`],
    ['FLOPs', `${integer(dataset.size('flops', one, three))} on ${dataset.name}`],
    ['opcodes', codes.join('')],
  ];
  return rows.flatMap(([name, value]) => [element('dt', {}, name), element('dd', {}, value)]);
}

// ------------------------------------------------------------------ one edit away

function showNeighbours(index) {
  const metric = mainMetric(state);
  const codes = codesOf(index);
  const own = metric.values[index];
  const cells = EDGES.map((_, edge) => OPERATIONS.map((__, code) => withEdge(index, edge, code)));
  const values = cells.flat().map((each) => metric.values[each]).filter((value) => !Number.isNaN(value));
  const [least, most] = [Math.min(...values), Math.max(...values)];
  byId('near-title').textContent = `One edit away: ${metricLabel(metric)} on ${metric.dataset.name}`;
  const head = element('tr', {}, element('td'), OPERATIONS.map((name, code) =>
    element('th', { scope: 'col', title: LONG[name], style: `--op: ${operationColour(code)}` }, element('span.swatch'), SHORT[name])));
  const rows = EDGES.map(([source, target], edge) => {
    const tds = cells[edge].map((other, code) => {
      const value = metric.values[other];
      const share = most > least ? (value - least) / (most - least) : 1;
      const label = `Edge ${source} to ${target} as ${LONG[OPERATIONS[code]]}: cell ${other}, ${number(value, 'accuracy')}`;
      const attributes = { 'data-cell': other, 'data-value': String(value), 'aria-label': label, title: `${label} (${signed(value - own)})` };
      const isOwn = code === codes[edge];
      Object.assign(attributes, { style: `--shade: ${shade(share)}`, onclick: () => change(edge, code), 'aria-current': isOwn ? 'true' : null });
      return element('td', {}, element('button.near', attributes, number(value, 'accuracy').replace(/^0/, '')));
    });
    return element('tr', {}, element('th', { scope: 'row' }, `${source} → ${target}`), tds);
  });
  byId('near-table').replaceChildren(element('thead', {}, head), element('tbody', {}, rows));
}

// ------------------------------------------------------------------ curves and images

// The data set whose curves and images are shown: that of the landscape, else the first that has any.
export function evidenceDataset() {
  return [datasetOf(state.y), ...datasets].find((dataset) => dataset.details) ?? null;
}

async function showEvidence() {
  const turn = ++latest;
  const dataset = evidenceDataset();
  await new Promise((resolve) => setTimeout(resolve)); // the numbers first
  const found = turn === latest ? await runsOf(dataset, state.cell) : null;
  if (turn !== latest) return;
  for (const place of document.querySelectorAll('.evidence-name')) place.textContent = dataset ? ` on ${dataset.name}` : '';
  byId('curves-part').hidden = !found?.details.curves.length;
  byId('images-part').hidden = !found?.details.images;
  if (found?.details.curves.length) curves(byId('curves'), found);
  if (found?.details.images) images(byId('images'), found, dataset);
  byId('images').dataset.cell = state.cell;
}
