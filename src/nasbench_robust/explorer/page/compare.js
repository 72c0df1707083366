// Up to four cells side by side: drawings, values, and on which images only one of two holds.

import { cellString } from './space.js'
import { byId, element, integer, number, signed } from './format.js'
import { PINS } from './colours.js'
import { datasets, metrics } from './data.js'
import { allVariables, metricLabel } from './variables.js'
import { pins, state, togglePin, update, watch } from './state.js'
import { drawCell } from './drawing.js'
import { classes, runsOf } from './evidence.js'
import { evidenceDataset } from './cell.js'

let latest = 0;

export function openCompare() {
  watch(['pins', 'tab', 'y', 'image'], showCompare);
  showCompare();
}

function showCompare() {
  const own = pins();
  byId('pin-count').textContent = own.length ? String(own.length) : '';
  if (state.tab !== 'compare') return;
  byId('compare-empty').hidden = own.length > 0;
  byId('compare').hidden = !own.length;
  if (own.length) byId('compare').replaceChildren(heads(own), ...datasets.map((dataset) => body(dataset, own)));
  showPaired(own);
}

function heads(own) {
  const cells = own.map((index, place) =>
    element(
      'th',
      { scope: 'col' },
      element('div.row', {}, element('b.letter', {}, PINS[place]), element('button.link', { onclick: () => update({ cell: index }) }, `Cell ${index}`), element('button.quiet', { 'aria-label': `Remove cell ${index}`, onclick: () => togglePin(index) }, '×')),
      drawCell(index),
      element('code', {}, cellString(index)),
    ),
  );
  return element('thead', {}, element('tr', {}, element('td'), cells));
}

function body(dataset, own) {
  const rows = allVariables().filter((each) => each.group === dataset.label).map((each) => {
    const values = own.map((index) => each.values[index]);
    const best = each.better * Math.max(...values.map((value) => each.better * value).filter((value) => !Number.isNaN(value)));
    const cells = values.map((value, place) => {
      const isBest = own.length > 1 && value === best;
      const result = each.metric?.result(own[place]);
      const spread = result?.std ? ` ± ${result.std.toFixed(4)}` : '';
      const difference = place && each.kind === 'accuracy' ? element('span.note', {}, ` ${signed(value - values[0])}`) : null;
      const written = each.kind === 'size' ? integer(value) : number(value, each.kind);
      return element(`td${isBest ? '.best' : ''}`, { 'data-value': String(value), title: `${value}${spread}` }, written, difference);
    });
    return element('tr', { 'data-variable': each.id }, element('th', { scope: 'row' }, each.label), cells);
  });
  return element('tbody', {}, element('tr.group', {}, element('th', { scope: 'colgroup', colSpan: own.length + 1 }, dataset.label)), rows);
}

// ------------------------------------------------------------------ pairs, image by image

async function showPaired(own) {
  const turn = ++latest;
  const dataset = evidenceDataset();
  const found = own.length > 1 ? await Promise.all(own.map((index) => runsOf(dataset, index))) : [];
  if (turn !== latest) return;
  const isKnown = found.length > 1 && found.every((each) => each?.details.images);
  byId('paired').hidden = !isKnown;
  if (!isKnown) return;
  const { details } = found[0];
  const [wanted] = state.image.split('~');
  const known = details.outcomes.map((each) => each.metric);
  const column = known.includes(wanted) ? wanted : known.at(-1);
  const label = metricLabel(metrics.get(`${dataset.id}/${column}`));
  const pairs = own.flatMap((_, one) => own.slice(one + 1).map((__, rest) => [one, one + 1 + rest]));
  const rows = pairs.map(([one, other]) => pairRow(found[one].runs, found[other].runs, column, one, other));
  const names = ['', 'both right', 'only the first', 'only the second', 'neither'].map((name) => element('th', { scope: 'col' }, name));
  const [first, second] = [holding(found[0].runs, column, found[1].runs), holding(found[1].runs, column, found[0].runs)];
  byId('paired').replaceChildren(
    element('h3', {}, `Image by image: ${label} on ${dataset.name}`),
    element('p.note', {}, 'Pairs of a test image and a seed, of runs with equal seeds.'),
    element('table', {}, element('thead', {}, element('tr', {}, names)), element('tbody', {}, rows)),
    element('div.two', {},
      element('div', {}, element('h4', {}, `Only ${PINS[0]} withstands, in every seed`), classes(details.images, first, 1)),
      element('div', {}, element('h4', {}, `Only ${PINS[1]} withstands, in every seed`), classes(details.images, second, 1))),
  );
}

function pairRow(one, other, column, first, second) {
  const counts = [0, 0, 0, 0];
  for (const run of one) {
    const match = other.find((each) => each.seed === run.seed);
    match?.outcomes[column].forEach((correct, image) => counts[run.outcomes[column][image] ? (correct ? 0 : 1) : correct ? 2 : 3]++);
  }
  const tds = counts.map((count) => element('td', { 'data-value': count }, integer(count)));
  return element('tr', { 'data-pair': `${PINS[first]}${PINS[second]}` }, element('th', { scope: 'row' }, `${PINS[first]} and ${PINS[second]}`), tds);
}

// Images that one cell withstands in every seed, and the other in none.
function holding(runs, column, others) {
  const images = runs[0].outcomes[column].length;
  return Uint8Array.from({ length: images }, (_, image) => runs.every((run) => run.outcomes[column][image]) && !others.some((run) => run.outcomes[column][image]));
}
