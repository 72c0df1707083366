// The column of controls: axes and colour, which cells, which layers.

import { EDGES, LONG, OPERATIONS, SHORT } from './space.js'
import { byId, element, integer, short } from './format.js'
import { operationColour, shades } from './colours.js'
import { allVariables, datasetOf, variable } from './variables.js'
import { ALL_OPERATIONS, state, update, watch } from './state.js'
import { FILTERS, inBox, shownCells } from './filters.js'
import { addSearch } from './searches.js'
import { datasets } from './data.js'
import { frontOf } from './overlay.js'
import { cellButton } from './drawing.js'

const FRONT = 6; // cells of the front that are listed
const CLEARED = { view: 'representatives', ops: ALL_OPERATIONS, low: '', high: '', connected: false, twins: false, box: '' };

// Fill a select with all variables, grouped by data set.
export function fillVariables(select, field, only = () => true) {
  const groups = Map.groupBy(allVariables().filter(only), (each) => each.group);
  select.replaceChildren(
    ...[...groups].map(([label, members]) => {
      const options = members.map((each) => element('option', { value: each.id }, each.label));
      return element('optgroup', { label }, options);
    }),
  );
  select.onchange = () => update({ [field]: select.value, ...afterAxis(field) });
  const show = () => (select.value = state[field]);
  watch([field], show);
  show();
}

// A box and a zoom are in the units of the axes.
function afterAxis(field) {
  return ['x', 'y', 'xs', 'ys'].includes(field) ? { box: '', zoom: '' } : {};
}

function bindSelect(id, field) {
  const select = byId(id);
  select.onchange = () => update({ [field]: select.value, ...afterAxis(field) });
  const show = () => (select.value = state[field]);
  watch([field], show);
  show();
}

function bindFlag(id, field) {
  const box = byId(id);
  box.onchange = () => update({ [field]: box.checked });
  const show = () => (box.checked = state[field]);
  watch([field], show);
  show();
}

function bindAmount(id, field) {
  const input = byId(id);
  input.onchange = () => update({ [field]: input.value === '' ? '' : String(Math.max(0, Math.round(Number(input.value)))) });
  const show = () => (input.value = state[field]);
  watch([field], show);
  show();
}

export function openControls(landscapes) {
  for (const [id, field] of [['x', 'x'], ['y', 'y'], ['c', 'c'], ['x2', 'x2'], ['y2', 'y2']]) fillVariables(byId(id), field);
  for (const id of ['xs', 'ys', 'view']) bindSelect(id, id);
  for (const id of ['pareto', 'near', 'connected', 'twins', 'side']) bindFlag(id, id);
  for (const id of ['low', 'high']) bindAmount(id, id);
  openOperations();
  byId('swap').onclick = () => update({ x: state.y, y: state.x, xs: state.ys, ys: state.xs, box: '', zoom: '' });
  byId('clear').onclick = () => update(CLEARED);
  byId('unbox').onclick = () => update({ box: '' });
  byId('search-file').onchange = async (event) => {
    for (const file of event.target.files) await addSearch(file);
    event.target.value = '';
  };
  byId('zoom-in').onclick = () => landscapes.forEach((each) => each.plot && each.zoomBy(0.6));
  byId('zoom-out').onclick = () => landscapes.forEach((each) => each.plot && each.zoomBy(1 / 0.6));
  byId('zoom-all').onclick = () => landscapes.forEach((each) => each.plot && each.reset());
  for (const mode of ['pan', 'box']) byId(`mode-${mode}`).onclick = () => setMode(landscapes, mode);
  watch([...FILTERS, 'box', 'x', 'y', 'xs', 'ys'], showCount);
  watch(['side'], showSide);
  showCount();
  showSide();
}

function setMode(landscapes, mode) {
  for (const each of landscapes) each.mode = each.host.dataset.mode = mode;
  for (const each of ['pan', 'box']) byId(`mode-${each}`).setAttribute('aria-pressed', String(each === mode));
}

function showSide() {
  byId('second').hidden = byId('second-axes').hidden = !state.side;
}

// How many cells pass, and what to clear where some do not.
function showCount() {
  const cells = shownCells();
  const isIn = inBox();
  const noun = { representatives: 'classes', smallest: 'classes', families: 'functions', all: 'cells' }[state.view];
  const known = cells.filter((index) => [state.x, state.y].every((id) => !Number.isNaN(variable(id).values[index])));
  byId('count').textContent = `${integer(cells.length)} ${noun}${known.length < cells.length ? `, ${integer(known.length)} with results` : ''}`;
  byId('unbox').hidden = !isIn;
  if (isIn) byId('unbox').textContent = `${integer(cells.filter(isIn).length)} in the box ×`;
  byId('clear').hidden = Object.keys(CLEARED).every((field) => state[field] === CLEARED[field]);
  const size = variable(`${datasetOf(state.y).id}/parameters`).values;
  const [least, most] = [Math.min(...size), Math.max(...size)];
  byId('low').placeholder = short(least);
  byId('high').placeholder = short(most);
}

// A switch for every operation on every edge.
function openOperations() {
  const head = element('tr', {}, element('th', {}, ''), OPERATIONS.map((name, code) =>
    element('th', { scope: 'col', title: LONG[name], style: `--op: ${operationColour(code)}` }, element('span.swatch'), SHORT[name])));
  const rows = EDGES.map(([source, target], edge) =>
    element('tr', {}, element('th', { scope: 'row' }, `${source} → ${target}`), OPERATIONS.map((name, code) =>
      element('td', {}, element('input', {
        type: 'checkbox',
        'aria-label': `Edge ${source} to ${target} may be ${LONG[name]}`,
        'data-edge': edge,
        'data-code': code,
        onchange: (event) => switchOperation(edge, code, event.target.checked),
      })))));
  byId('operations').replaceChildren(element('thead', {}, head), element('tbody', {}, rows));
  const show = () => {
    for (const box of byId('operations').querySelectorAll('input')) {
      box.checked = (parseInt(state.ops[box.dataset.edge], 32) >> box.dataset.code) & 1;
    }
  };
  watch(['ops'], show);
  show();
}

function switchOperation(edge, code, isOn) {
  const mask = parseInt(state.ops[edge], 32);
  const next = (isOn ? mask | (1 << code) : mask & ~(1 << code)).toString(32);
  update({ ops: state.ops.slice(0, edge) + next + state.ops.slice(edge + 1) });
}

// The colours and what they mean.
export function showLegend(landscape) {
  const { least, most, isCut } = landscape.colour;
  const own = variable(state.c);
  const written = (value) => (own.kind === 'size' ? short(value) : String(Number(value.toPrecision(3))));
  const bar = element('span.bar', { style: `background: linear-gradient(to right, ${shades().join(', ')})` });
  const low = least === undefined || Number.isNaN(least) ? '–' : `${isCut ? '≤ ' : ''}${written(least)}`;
  const high = most === undefined ? '–' : written(most);
  byId('legend').replaceChildren(element('span.legend-name', {}, own.title), element('span', {}, low), bar, element('span', {}, high));
}

// The cells of the front, by name: what is drawn can be read and clicked too.
export function showFront(landscape) {
  byId('front').hidden = !state.pareto;
  if (!state.pareto) return;
  const cells = frontOf(landscape);
  const more = cells.length > FRONT ? element('span.note', {}, `and ${cells.length - FRONT} more`) : null;
  byId('front').replaceChildren(...cells.slice(0, FRONT).map((index) => cellButton(index)), ...(more ? [more] : []));
}

export const otherDataset = (dataset) => datasets[(datasets.indexOf(dataset) + 1) % datasets.length];
