// Every value of a cell: mean, spread, seeds, rank, and the settings of the attack behind it.

import { element, integer, number, signed, budget } from './format.js'
import { datasets } from './data.js'
import { metricLabel } from './variables.js'

const opened = new Set(); // metrics whose seeds and settings are open
const unfolded = new Map(); // whether a data set's table is open, once a person said so

// Tables of all data sets, that of the landscape first. `before` is the cell that an edit came from, or null.
export function valueTables(index, before, main) {
  const order = [main, ...datasets.filter((dataset) => dataset !== main)];
  return order.map((dataset, place) => {
    const isOpen = unfolded.get(dataset.id) ?? place === 0;
    const details = element('details.values', { open: isOpen, 'data-dataset': dataset.id }, element('summary', {}, dataset.label));
    details.firstChild.onclick = () => unfolded.set(dataset.id, !details.open);
    const fill = () => details.open && details.children.length < 2 && details.append(table(dataset, index, before));
    details.ontoggle = fill;
    fill();
    return details;
  });
}

function table(dataset, index, before) {
  const splits = [...new Set(dataset.metrics.map((metric) => metric.split))];
  const bodies = splits.map((split) => {
    const own = dataset.metrics.filter((metric) => metric.split === split);
    return element('tbody', {}, own.flatMap((metric) => rows(metric, index, before)));
  });
  const heads = ['metric', 'accuracy', before === null ? '± sd' : 'change', 'rank'].map((name) => element('th', { scope: 'col' }, name));
  return element('table', {}, element('thead', {}, element('tr', {}, heads)), bodies);
}

function rows(metric, index, before) {
  const result = metric.result(index);
  const name = metricLabel(metric);
  if (!result) return [element('tr', {}, element('th', { scope: 'row' }, name), element('td', { colSpan: 3 }, 'no result'))];
  const { rank, of } = metric.rank(index);
  const more = element('tr.more', { hidden: !opened.has(metric.id) }, element('td', { colSpan: 4 }, known(metric, result)));
  const toggle = (event) => {
    more.hidden = !more.hidden;
    event.currentTarget.setAttribute('aria-expanded', String(!more.hidden));
    opened[more.hidden ? 'delete' : 'add'](metric.id);
  };
  const button = element('button.metric', { 'aria-expanded': String(!more.hidden), onclick: toggle, title: 'Seeds, counts and attack settings' }, name);
  const share = `--share: ${(of - rank) / Math.max(1, of - 1)}`;
  return [
    element(
      'tr',
      { 'data-metric': metric.id },
      element('th', { scope: 'row' }, button),
      element('td.value', { 'data-value': String(result.value), title: String(result.value) }, number(result.value, 'accuracy')),
      before === null ? element('td.sd', {}, result.std === null ? '' : result.std.toFixed(4)) : change(metric, result.value, before),
      element('td.rank', { style: share, title: `better than ${integer(of - rank)} of ${integer(of)} classes` }, integer(rank)),
    ),
    more,
  ];
}

function change(metric, value, before) {
  const difference = value - metric.values[before];
  const kind = difference > 0 ? 'td.change.up' : difference < 0 ? 'td.change.down' : 'td.change';
  return element(kind, { 'data-change': String(difference) }, signed(difference));
}

// Seeds, counts and settings, as a list of facts.
function known(metric, result) {
  const facts = [];
  if (result.seeds.length) {
    const each = result.seeds.map(({ seed, value }) => element('span.seed', { 'data-seed': seed, 'data-value': String(value), title: String(value) }, `${seed}: ${number(value, 'accuracy')}`));
    facts.push(['seeds', element('span', {}, each)]);
  } else facts.push(['runs', `${result.runs}, not given one by one`]);
  if (result.std !== null) facts.push(['standard deviation', element('span', { 'data-std': String(result.std) }, result.std.toFixed(5))]);
  const images = `${metric.images === result.images ? '' : `${result.runs} × `}${integer(metric.images)} ${metric.split} images`;
  facts.push(['correct', Number.isNaN(result.correct) ? `of ${images}, rounded by the source` : `${integer(result.correct)} of ${images}`]);
  facts.push(['measured', metric.description]);
  if (metric.attack) facts.push(['attack', attack(metric.attack)]);
  facts.push(['exact', String(result.value)]);
  return element('dl', {}, facts.flatMap(([name, value]) => [element('dt', {}, name), element('dd', {}, value)]));
}

function attack({ name, norm, eps, steps, step_size: step, random_start: start, restarts, queries, targets }) {
  const parts = [name, `${norm === 'Linf' ? 'L∞' : norm} eps ${budget(eps)}`];
  if (steps !== undefined) parts.push(`${steps} step${steps === 1 ? '' : 's'}`);
  if (step !== undefined) parts.push(`of ${budget(step).includes('/') ? budget(step) : Number(step.toPrecision(4))}`);
  if (start !== undefined) parts.push(start ? 'random start' : 'no random start');
  if (restarts !== undefined) parts.push(`${restarts} restart${restarts === 1 ? '' : 's'}`);
  if (targets !== undefined) parts.push(`${targets} targets`);
  if (queries !== undefined) parts.push(`${integer(queries)} queries`);
  return parts.join(', ');
}
