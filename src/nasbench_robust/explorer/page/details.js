// Curves and outcomes of single runs: each run is a stream of its own, decoded when it is shown.

import { inflate, lowerBound, readArray } from './data.js'
import { space } from './space.js'

const PRECISION = 12; // bits of a frequency, as packing.py encodes with
const WHOLE = 1 << PRECISION;
const opened = new Map(); // of Details by data set
let bytes; // promise of the blob

// Return the details of a data set, or null where the page has none.
export async function detailsOf(dataset) {
  if (!dataset?.details) return null;
  bytes ??= wholePage().then(() => inflate('details'));
  if (!opened.has(dataset)) opened.set(dataset, new Details(dataset.details, await bytes));
  return opened.get(dataset);
}

// The details stand at the end of the page, so that all else is drawn before they are read.
async function wholePage() {
  if (document.readyState === 'loading') await new Promise((resolve) => addEventListener('DOMContentLoaded', resolve));
}

class Details {
  constructor(stored, blob) {
    const read = (array) => readArray(blob, array);
    this.index = read(stored.index);
    this.seed = read(stored.seed);
    this.words = read(stored.words);
    this.places = [0];
    for (const length of read(stored.lengths)) this.places.push(this.places.at(-1) + length);
    this.split = stored.split;
    this.outcomes = stored.outcomes.map((each) => ({ ...each, shares: read(each.shares) }));
    this.curves = stored.curves.map((each) => ({ ...each, tables: cumulated(read(each.sizes), each.symbols) }));
    this.images = stored.images && { side: stored.images.side, grey: read(stored.images.grey), labels: read(stored.images.labels) };
    this.decoded = new Map();
  }

  // Runs of a cell's class: [{seed, outcomes: {metric: bits by image}, curves: {name: accuracies by epoch}}].
  // `countOf(metric, seed)` says how many images a run classifies correctly, which the page knows from the table.
  runs(index, countOf) {
    const own = space.representatives[index];
    if (!this.decoded.has(own)) {
      const runs = [];
      for (let row = lowerBound(this.index, own); this.index[row] === own; row++) {
        runs.push(this.decode(row, (metric) => countOf(metric, this.seed[row])));
      }
      this.decoded.set(own, runs);
    }
    return this.decoded.get(own);
  }

  decode(row, countOf) {
    const stream = new Stream(this.words, this.places[row]);
    const run = { seed: this.seed[row], outcomes: {}, curves: {} };
    let before = null;
    for (const { metric, bounds, levels, shares } of this.outcomes) {
      const level = bounds.filter((bound) => bound <= countOf(metric)).length;
      const images = shares.length / levels / 2;
      const correct = new Uint8Array(images);
      for (let image = 0; image < images; image++) {
        const share = shares[(image * levels + level) * 2 + (before?.[image] ?? 0)];
        correct[image] = stream.bit(share * (WHOLE >> 8));
      }
      run.outcomes[metric] = before = correct;
    }
    for (const { name, images, least, tables } of this.curves) {
      let count = 0;
      run.curves[name] = tables.map((table, epoch) => (count += stream.symbol(table) + least[epoch]) / images);
    }
    return run;
  }
}

// Frequencies of all epochs, one behind the other, as arrays of where each symbol's interval begins.
function cumulated(sizes, symbols) {
  let place = 0;
  return symbols.map((number) => {
    const table = new Uint16Array(number + 1);
    for (let symbol = 0; symbol < number; symbol++) table[symbol + 1] = table[symbol] + sizes[place++];
    return table;
  });
}

// A decoder of asymmetric numeral systems (Duda, 2013); `encode_streams` of packing.py is the other end.
class Stream {
  constructor(words, place) {
    this.words = words;
    this.state = words[place] * 65536 + words[place + 1];
    this.place = place + 2;
  }

  bit(one) {
    const isOne = this.state % WHOLE < one;
    this.advance(isOne ? 0 : one, isOne ? one : WHOLE - one);
    return isOne ? 1 : 0;
  }

  symbol(table) {
    const rest = this.state % WHOLE;
    let symbol = lowerBound(table, rest + 1) - 1;
    this.advance(table[symbol], table[symbol + 1] - table[symbol]);
    return symbol;
  }

  advance(start, size) {
    this.state = size * Math.floor(this.state / WHOLE) + (this.state % WHOLE) - start;
    if (this.state < 65536) this.state = this.state * 65536 + this.words[this.place++];
  }
}
