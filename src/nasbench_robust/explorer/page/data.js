// The numbers of the page: releases, their data sets and metrics, answered as `Benchmark.query` answers.

import { SIZE, openSpace, space } from './space.js'

const TYPES = { u1: Uint8Array, b1: Uint8Array, u2: Uint16Array, u4: Uint32Array, f8: Float64Array };

export const about = {};
export const releases = [];
export const datasets = [];
export const metrics = new Map(); // by id

// Return the bytes of one of the page's two blobs.
export async function inflate(id) {
  const text = document.getElementById(id).textContent.trim();
  const bytes = Uint8Array.fromBase64?.(text) ?? Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Return an array of a blob; values of several bytes lie there byte by byte, all first bytes first.
export function readArray(bytes, { type, at, length }) {
  const Type = TYPES[type];
  const width = Type.BYTES_PER_ELEMENT;
  if (width === 1) return bytes.subarray(at, at + length);
  const mixed = new Uint8Array(length * width);
  for (let byte = 0; byte < width; byte++) {
    for (let place = 0; place < length; place++) mixed[place * width + byte] = bytes[at + byte * length + place];
  }
  return new Type(mixed.buffer);
}

export async function openData() {
  Object.assign(about, JSON.parse(document.getElementById('about').textContent));
  const bytes = await inflate('table');
  const read = (array) => readArray(bytes, array);
  openSpace(about.space, read);
  for (const release of about.releases) {
    releases.push(release);
    for (const each of release.datasets) datasets.push(new Dataset(release, each, read));
  }
}

class Dataset {
  constructor(release, stored, read) {
    this.release = release;
    this.name = stored.name;
    this.eps = stored.eps;
    this.details = stored.details;
    this.id = `${release.name}/${stored.name}`;
    const isKnownByName = about.releases.flatMap((each) => each.datasets).filter((each) => each.name === stored.name).length === 1;
    this.label = isKnownByName ? stored.name : `${stored.name} (${release.name.replace(`${stored.name}@`, '')})`;
    this.sizes = stored.sizes;
    this.seconds = stored.seconds && { name: stored.seconds.name, values: spread(read(stored.seconds.milliseconds)) };
    let index = 0;
    const rows = {
      index: Uint16Array.from(read(stored.index), (step) => (index += step)),
      seed: Int32Array.from(read(stored.seed), (seed) => seed - 1),
      seeds: read(stored.seeds),
    };
    this.metrics = stored.metrics.map((metric) => new Metric(this, metric, rows, read));
    for (const metric of this.metrics) metrics.set(metric.id, metric);
  }

  // Parameters or FLOPs of a cell's own network: members of a class differ in them.
  size(kind, conv1x1, conv3x3) {
    const [base, one, three] = this.sizes[kind];
    return base + (one - base) * conv1x1 + (three - base) * conv3x3;
  }
}

// Spread values of representatives, in thousandths with 1 added, over all cells.
function spread(stored) {
  const order = [...new Set(space.representatives)].sort((a, b) => a - b);
  const place = new Map(order.map((index, row) => [index, row]));
  return Float64Array.from(space.representatives, (index) => (stored[place.get(index)] || NaN) / 1000 - 0.001);
}

class Metric {
  constructor(dataset, stored, rows, read) {
    Object.assign(this, { dataset, name: stored.name, column: stored.column, split: stored.split, images: stored.images });
    Object.assign(this, { isDefault: stored.default, attack: stored.attack, description: stored.description });
    this.id = `${dataset.id}/${stored.column}`;
    this.open = () => this.readRows(stored, rows, read);
  }

  // The rows that have a value: cell, seed (-1: not known), runs behind it, value, and count of correct images.
  get rows() {
    const rows = this.open();
    Object.defineProperty(this, 'rows', { value: rows });
    return rows;
  }

  readRows(stored, { index, seed, seeds }, read) {
    const has = stored.rows && read(stored.rows);
    const [ownIndex, ownSeed, runs] = [index, seed, seeds].map((array) => (has ? array.filter((_, row) => has[row]) : array));
    const counts = stored.counts && new Float64Array(read(stored.counts)).map((count) => (count ? count - 1 : NaN));
    const value = stored.values ? read(stored.values) : counts.map((count, row) => count / (this.images * runs[row]));
    const correct = stored.rounded ? value.map((each, row) => Math.round(each * this.images * runs[row])) : counts;
    return { index: ownIndex, seed: ownSeed, runs, value, correct };
  }

  // Means over seeds by cell index, NaN where there is no result: sums in the order of the table, as NumPy adds.
  get values() {
    const { index, value } = this.rows;
    const total = new Float64Array(SIZE);
    const number = new Uint16Array(SIZE);
    for (let row = 0; row < index.length; row++) {
      total[index[row]] += value[row];
      number[index[row]]++;
    }
    const values = new Float64Array(space.representatives).map((own) => total[own] / number[own]);
    Object.defineProperty(this, 'values', { value: values });
    return values;
  }

  // Everything known about one answer, as `Benchmark.lookup`; null where there is no result.
  result(index) {
    const { index: cells, seed, runs, value, correct } = this.rows;
    const own = space.representatives[index];
    const rows = [];
    for (let row = lowerBound(cells, own); cells[row] === own; row++) rows.push(row);
    if (!rows.length) return null;
    const single = rows.filter((row) => seed[row] >= 0).map((row) => ({ seed: seed[row], value: value[row], correct: correct[row] }));
    const behind = rows.reduce((sum, row) => sum + runs[row], 0);
    return {
      value: this.values[index],
      seeds: single.sort((one, other) => one.seed - other.seed),
      std: deviation(single.map((each) => each.value)),
      runs: behind,
      correct: rows.reduce((sum, row) => sum + correct[row], 0),
      images: this.images * behind,
    };
  }

  // How many classes are better, plus one; and of how many that have a result.
  rank(index) {
    if (!this.sorted) {
      const own = this.values.filter((value, place) => space.representatives[place] === place && !Number.isNaN(value));
      Object.defineProperty(this, 'sorted', { value: own.sort() });
    }
    return { rank: this.sorted.length - upperBound(this.sorted, this.values[index]) + 1, of: this.sorted.length };
  }
}

function deviation(values) {
  if (values.length < 2) return null;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1));
}

export function lowerBound(sorted, value) {
  let low = 0;
  for (let high = sorted.length; low < high; ) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

function upperBound(sorted, value) {
  let low = 0;
  for (let high = sorted.length; low < high; ) {
    const middle = (low + high) >> 1;
    if (sorted[middle] <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}
