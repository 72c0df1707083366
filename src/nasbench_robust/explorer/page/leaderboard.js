// All cells that pass the filters as a table: sorted by any column, searched, saved.

import { cellString, codesOf } from './space.js'
import { byId, copy, download, element, integer, number, toast } from './format.js'
import { datasets } from './data.js'
import { allVariables, datasetOf, strongest, variable } from './variables.js'
import { FILTERS, inBox, shownCells } from './filters.js'
import { pins, state, togglePin, update, watch } from './state.js'
import { glyph } from './drawing.js'

const ROWS = 50;
const COMPARISON = /^(.+?)(>=|<=|>|<)(-?[\d.]+(?:e-?\d+)?)$/;

export function openLeaderboard() {
  byId('board').replaceChildren(...datasets.map((dataset) => element('option', { value: dataset.id }, dataset.label)));
  byId('board').onchange = (event) => {
    const dataset = datasets.find((each) => each.id === event.target.value);
    const metric = strongest(dataset).id;
    update({ sort: metric, desc: true, page: '0', ...(datasetOf(state.y) === dataset ? {} : { y: metric, box: '', zoom: '' }) });
  };
  byId('q').oninput = () => update({ q: byId('q').value, page: '0' });
  byId('previous').onclick = () => update({ page: String(Number(state.page) - 1) });
  byId('next').onclick = () => update({ page: String(Number(state.page) + 1) });
  byId('csv').onclick = saveTable;
  byId('bibtex').onclick = () => copy(datasetOf(state.y).release.citation, 'BibTeX');
  watch([...FILTERS, 'box', 'x', 'y', 'xs', 'ys', 'sort', 'desc', 'q', 'page', 'tab', 'cell', 'pins'], showLeaderboard);
  showLeaderboard();
}

// Columns of a data set: its metrics, sizes and cost.
function columns(dataset) {
  const own = allVariables().filter((each) => each.group === dataset.label);
  return [...own.filter((each) => each.kind !== 'accuracy').slice(0, 1), ...own.filter((each) => each.kind === 'accuracy')];
}

function sortVariable(dataset) {
  return state.sort === 'index' ? null : datasetOf(state.sort) === dataset && variable(state.sort) ? variable(state.sort) : variable(strongest(dataset).id);
}

// Cells in their order: those of the filters, of the box, and of the text that was typed.
export function boardCells() {
  const dataset = datasetOf(state.y);
  const isIn = inBox();
  const fits = asked(dataset, state.q);
  const cells = shownCells().filter((index) => (!isIn || isIn(index)) && fits(index));
  const by = sortVariable(dataset);
  const sign = state.desc ? -1 : 1;
  if (!by) return cells.sort((one, other) => sign * (one - other));
  const { values } = by;
  return cells.filter((index) => !Number.isNaN(values[index])).sort((one, other) => sign * (values[one] - values[other]) || one - other);
}

// Words must stand in the index, opcodes or string; "pgd>0.7" or "parameters<=20000" compares a column.
function asked(dataset, text) {
  const tests = text.trim().split(/\s+/).filter(Boolean).map((word) => {
    const parts = COMPARISON.exec(word);
    const column = parts && columnCalled(dataset, parts[1]);
    if (!column) return (index) => String(index) === word || codesOf(index).join('') === word || (word.length > 2 && /\D/.test(word) && cellString(index).includes(word));
    const bound = Number(parts[3]);
    const compare = { '>': (value) => value > bound, '<': (value) => value < bound, '>=': (value) => value >= bound, '<=': (value) => value <= bound }[parts[2]];
    return (index) => compare(column.values[index]);
  });
  return (index) => tests.every((test) => test(index));
}

// A column by its name in tables, or the start of one: "pgd_acc@0.1", "pgd", "parameters".
function columnCalled(dataset, name) {
  const own = allVariables().filter((each) => each.group === dataset.label);
  const short = (each) => each.id.slice(dataset.id.length + 1);
  const start = own.filter((each) => short(each).toLowerCase().startsWith(name.toLowerCase()));
  return own.find((each) => short(each) === name) ?? start.find((each) => each.metric?.isDefault) ?? start[0];
}

function showLeaderboard() {
  if (state.tab !== 'leaderboard') return;
  const dataset = datasetOf(state.y);
  byId('board').value = dataset.id;
  if (byId('q').value !== state.q) byId('q').value = state.q;
  const cells = boardCells();
  const pages = Math.max(1, Math.ceil(cells.length / ROWS));
  const page = Math.min(Number(state.page), pages - 1);
  const shown = cells.slice(page * ROWS, (page + 1) * ROWS);
  byId('board-count').textContent = cells.length ? `${integer(page * ROWS + 1)}–${integer(page * ROWS + shown.length)} of ${integer(cells.length)}` : 'No cell passes the filters.';
  byId('previous').disabled = page === 0;
  byId('next').disabled = page >= pages - 1;
  const own = columns(dataset);
  const by = sortVariable(dataset);
  const heads = [head('index', 'cell', !by), element('th', { scope: 'col' }, 'edges'), ...own.map((each) => head(each.id, each.label, each === by))];
  const rows = shown.map((index, place) => row(index, page * ROWS + place + 1, own));
  byId('leaderboard').replaceChildren(element('thead', {}, element('tr', {}, element('th', { scope: 'col' }, '#'), heads)), element('tbody', {}, rows));
}

function head(id, label, isSorted) {
  const sort = () => update({ sort: id, desc: isSorted ? !state.desc : id !== 'index' && variable(id).better > 0, page: '0' });
  const mark = isSorted ? (state.desc ? ' ↓' : ' ↑') : '';
  return element('th', { scope: 'col', 'aria-sort': isSorted ? (state.desc ? 'descending' : 'ascending') : null, 'data-sort': id }, element('button', { onclick: sort }, `${label}${mark}`));
}

function row(index, place, own) {
  const isPinned = pins().includes(index);
  const pin = element('button.quiet.pin', { 'aria-pressed': String(isPinned), 'aria-label': `Pin cell ${index}`, title: 'Pin to compare', onclick: (event) => (event.stopPropagation(), togglePin(index) || toast('Four cells are pinned already.')) }, isPinned ? '◆' : '◇');
  const values = own.map((each) => element('td', { title: String(each.values[index]) }, each.kind === 'size' ? integer(each.values[index]) : number(each.values[index], each.kind)));
  return element(
    `tr${index === state.cell ? '.chosen' : ''}`,
    { 'data-cell': index, onclick: () => update({ cell: index }) },
    element('td.place', {}, integer(place), pin),
    element('th', { scope: 'row' }, element('button.link', {}, String(index))),
    element('td', {}, glyph(index)),
    values,
  );
}

// ------------------------------------------------------------------ saving

function saveTable() {
  const dataset = datasetOf(state.y);
  const cells = boardCells();
  const own = allVariables().filter((each) => each.group === dataset.label);
  const name = (each) => each.id.slice(dataset.id.length + 1);
  const lines = cells.map((index) => [index, cellString(index), codesOf(index).join(''), ...own.map((each) => (Number.isNaN(each.values[index]) ? '' : each.values[index]))].join(','));
  const text = [['index', 'arch', 'opcodes', ...own.map(name)].join(','), ...lines, ''].join('\n');
  download(`${dataset.release.name}-${dataset.name}.csv`, text, 'text/csv');
  toast(`${integer(cells.length)} rows saved. Please cite ${dataset.release.title}.`);
}
