// What lies behind the accuracies of a cell: its curves by epoch, and the images that it fails on.

import { element, number } from './format.js'
import { css } from './colours.js'
import { metrics } from './data.js'
import { detailsOf } from './details.js'
import { metricLabel } from './variables.js'
import { state, update } from './state.js'

const LINES = { clean_acc: ['--ink', 'clean'], pgd_acc: ['--accent', 'PGD'], train_acc: ['--line-strong', 'training, under PGD'] };

// Runs of a cell, with their curves and outcomes; null where the page has none.
export async function runsOf(dataset, index) {
  const details = await detailsOf(dataset);
  if (!details) return null;
  const countOf = (column, seed) => metrics.get(`${dataset.id}/${column}`).result(index).seeds.find((each) => each.seed === seed).correct;
  const runs = details.runs(index, countOf);
  return runs.length ? { details, runs } : null;
}

// ------------------------------------------------------------------ curves

let drawn; // the plot of the curves

// Draw the curves in the colours of another theme.
export const redrawCurves = () => drawn?.redraw();

export function curves(host, { details, runs }) {
  const names = details.curves.map((each) => each.name);
  const epochs = runs[0].curves[names[0]].length;
  const mean = (name, epoch) => runs.reduce((sum, run) => sum + run.curves[name][epoch], 0) / runs.length;
  const means = names.map((name) => Array.from({ length: epochs }, (_, epoch) => mean(name, epoch)));
  const line = (name, width, alpha) => ({ stroke: () => withAlpha(css(LINES[name][0]), alpha), width, points: { show: false } });
  const data = [Array.from({ length: epochs }, (_, epoch) => epoch + 1), ...means];
  const series = [{}, ...names.map((name) => line(name, 2, 1))];
  for (const run of runs) {
    for (const name of names) {
      data.push(run.curves[name]);
      series.push(line(name, 1, 0.3));
    }
  }
  const axis = { stroke: () => css('--muted'), grid: { stroke: () => css('--grid'), width: 1 }, ticks: { show: false }, font: '11px system-ui, sans-serif' };
  const box = element('div.curves', { role: 'img', 'aria-label': `Accuracy by epoch. After ${epochs} epochs: ${names.map((name, place) => `${LINES[name][1]} ${number(means[place].at(-1), 'accuracy')}`).join(', ')}` });
  const readout = element('p.readout');
  const show = (epoch) => readout.replaceChildren(
    element('span', {}, `${details.split} images, epoch ${epoch + 1}`),
    ...names.map((name, place) => element('span', { 'data-curve': name, 'data-value': String(means[place][epoch]) }, element('i.swatch', { style: `--op: var(${LINES[name][0]})` }), `${LINES[name][1]} ${number(means[place][epoch], 'accuracy')}`)),
  );
  host.replaceChildren(box, readout);
  show(epochs - 1);
  drawn = new uPlot(
    {
      width: box.clientWidth || 360,
      height: 170,
      padding: [8, 8, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
      scales: { x: { time: false }, y: { range: [0, 1] } },
      axes: [{ ...axis, size: 24, incrs: [1, 2, 5, 10, 20, 50, 100] }, { ...axis, size: 36 }],
      series,
      hooks: { setCursor: [(plot) => show(plot.cursor.idx ?? epochs - 1)] },
    },
    data,
    box,
  );
}

function withAlpha(colour, alpha) {
  return colour.replace(/^rgba?\((\d+), (\d+), (\d+).*$/, `rgb($1 $2 $3 / ${alpha})`);
}

// ------------------------------------------------------------------ images

// Which metric and seed the images are those of: "pgd_acc@0.1" and 0, or "all" seeds.
function chosen(details, runs) {
  const [column, seed] = state.image.split('~');
  const known = details.outcomes.map((each) => each.metric);
  const isRun = runs.some((run) => String(run.seed) === seed);
  return [known.includes(column) ? column : known.find((each) => each.startsWith('pgd_acc')) ?? known[0], isRun ? seed : 'all'];
}

export function images(host, { details, runs }, dataset) {
  const [column, seed] = chosen(details, runs);
  const own = seed === 'all' ? runs : runs.filter((run) => String(run.seed) === seed);
  const failures = Uint8Array.from(details.images.labels, (_, image) => own.filter((run) => !run.outcomes[column][image]).length);
  const select = (label, value, options, change) =>
    element('select', { 'aria-label': label, onchange: (event) => change(event.target.value) },
      options.map(([each, text]) => element('option', { value: each, selected: each === value }, text)));
  const choose = (nextColumn, nextSeed) => update({ image: `${nextColumn}~${nextSeed}` });
  const byMetric = select('Metric of the images', column, details.outcomes.map((each) => [each.metric, metricLabel(metrics.get(`${dataset.id}/${each.metric}`))]), (value) => choose(value, seed));
  const bySeed = select('Seed of the images', seed, [['all', 'all seeds'], ...runs.map((run) => [String(run.seed), `seed ${run.seed}`])], (value) => choose(column, value));
  const failed = failures.filter((count) => count).length;
  const total = failures.length;
  const some = own.length > 1 ? ` in any of ${own.length} seeds; the darker, the more of them` : '';
  host.replaceChildren(
    element('div.row', {}, byMetric, bySeed),
    element('p.note', { id: 'failed', 'data-failed': failed }, `It fails on ${failed} of ${total} test images${some}.`),
    ...classes(details.images, failures, own.length),
  );
}

// A row a class: the images of it that fail, as dark as they fail often.
export function classes({ side, grey, labels }, failures, runs) {
  const pixels = inkPixels(side, grey);
  return [...new Set(labels)].sort((a, b) => a - b).map((label) => {
    const own = [...labels.keys()].filter((image) => labels[image] === label);
    const failing = own.filter((image) => failures[image]);
    const [size, gap, columns] = [24, 3, 12];
    const lines = Math.max(1, Math.ceil(failing.length / columns));
    const canvas = element('canvas', { width: columns * (side + 1), height: lines * (side + 1), role: 'img' });
    canvas.style.width = `${columns * (size + gap)}px`;
    canvas.setAttribute('aria-label', `${failing.length} of ${own.length} images of class ${label}`);
    const context = canvas.getContext('2d');
    failing.forEach((image, place) => {
      context.globalAlpha = 0.25 + (0.75 * failures[image]) / runs;
      context.drawImage(pixels, 0, image * side, side, side, (place % columns) * (side + 1), Math.floor(place / columns) * (side + 1), side, side);
    });
    return element('div.class-row', { 'data-class': label, 'data-failing': failing.length }, element('b', {}, String(label)), failing.length ? canvas : element('span.note', {}, 'none'), element('span.note', {}, `${failing.length}/${own.length}`));
  });
}

// All images one below the other, in black on nothing; styles turn them white in the dark.
function inkPixels(side, grey) {
  const canvas = document.createElement('canvas');
  Object.assign(canvas, { width: side, height: grey.length / side });
  const context = canvas.getContext('2d');
  const image = context.createImageData(canvas.width, canvas.height);
  grey.forEach((level, place) => (image.data[4 * place + 3] = Math.round((level / 16) * 255)));
  context.putImageData(image, 0, 0);
  return canvas;
}
