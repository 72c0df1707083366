// The space of cells: how a cell is written, which cells are the same, what lies one edit away.

export const EDGES = [];
export const OPERATIONS = [];
export const SIZE = 15625;
export const SHORT = { none: 'none', skip_connect: 'skip', nor_conv_1x1: '1×1', nor_conv_3x3: '3×3', avg_pool_3x3: 'pool' };
export const LONG = {
  none: 'no connection',
  skip_connect: 'skip connection',
  nor_conv_1x1: '1×1 convolution',
  nor_conv_3x3: '3×3 convolution',
  avg_pool_3x3: '3×3 average pooling',
};
const PLACES = [3125, 625, 125, 25, 5, 1];
const CONVOLUTIONS = ['nor_conv_1x1', 'nor_conv_3x3'];

// Facts by cell index, filled by openSpace.
export const space = { numbers: null, representatives: null, families: null, smallest: null, connected: null };
let indexOfNumber;
const membersOf = new Map();
const familyOf = new Map();

export function openSpace(about, read) {
  EDGES.push(...about.edges);
  OPERATIONS.push(...about.operations);
  space.numbers = read(about.opcodes);
  space.representatives = read(about.representatives);
  space.families = read(about.families).map((other, index) => other ^ space.representatives[index]);
  space.smallest = read(about.smallest);
  indexOfNumber = new Uint16Array(SIZE);
  space.numbers.forEach((number, index) => (indexOfNumber[number] = index));
  space.connected = new Uint8Array(SIZE);
  for (let index = 0; index < SIZE; index++) {
    space.connected[index] = liveEdges(codesOf(index)).length > 0;
    const own = space.representatives[index];
    if (!membersOf.has(own)) membersOf.set(own, []);
    membersOf.get(own).push(index);
    if (own === index) {
      const family = space.families[index];
      if (!familyOf.has(family)) familyOf.set(family, []);
      familyOf.get(family).push(index);
    }
  }
}

export function codesOf(index) {
  return PLACES.map((place) => Math.floor(space.numbers[index] / place) % 5);
}

export function indexOf(codes) {
  return indexOfNumber[codes.reduce((number, code, edge) => number + code * PLACES[edge], 0)];
}

export function withEdge(index, edge, code) {
  return indexOf(codesOf(index).with(edge, code));
}

// The 24 cells that differ in one edge, edge by edge.
export function neighbours(index) {
  return EDGES.flatMap((_, edge) => OPERATIONS.map((__, code) => withEdge(index, edge, code)).filter((other) => other !== index));
}

// All cells that are the same graph, itself included.
export function members(index) {
  return membersOf.get(space.representatives[index]);
}

// Representatives of the other classes that compute the same function.
export function twins(index) {
  return familyOf.get(space.families[index]).filter((other) => other !== space.representatives[index]);
}

export function cellString(index) {
  const names = codesOf(index).map((code) => OPERATIONS[code]);
  const edge = (position, source) => `|${names[position]}~${source}`;
  return `${edge(0, 0)}|+${edge(1, 0)}${edge(2, 1)}|+${edge(3, 0)}${edge(4, 1)}${edge(5, 2)}|`;
}

export function count(index, operation) {
  const wanted = OPERATIONS.indexOf(operation);
  return codesOf(index).filter((code) => code === wanted).length;
}

// Positions of the edges on a path from the input to the output.
export function liveEdges(codes) {
  const reached = new Set([0]);
  const followed = new Set([3]);
  EDGES.forEach(([source, target], edge) => codes[edge] && reached.has(source) && reached.add(target));
  EDGES.toReversed().forEach(([source, target], place) => codes[5 - place] && followed.has(target) && followed.add(source));
  return [0, 1, 2, 3, 4, 5].filter((edge) => codes[edge] && reached.has(EDGES[edge][0]) && followed.has(EDGES[edge][1]));
}

// The most convolutions on a path from the input to the output; NaN where there is none.
export function depth(index) {
  const codes = codesOf(index);
  const most = [0, NaN, NaN, NaN];
  EDGES.forEach(([source, target], edge) => {
    const through = codes[edge] ? most[source] + CONVOLUTIONS.includes(OPERATIONS[codes[edge]]) : NaN;
    if (!(most[target] >= through)) most[target] = Number.isNaN(through) ? most[target] : through;
  });
  return most[3];
}

// ------------------------------------------------------------------ reading what is typed

const SUITE_ZERO_OPERATIONS = ['skip_connect', 'none', 'nor_conv_3x3', 'nor_conv_1x1', 'avg_pool_3x3'];
const SUITE_ZERO_EDGES = [0, 1, 3, 2, 4, 5]; // position in EDGES of each of its edges

// Return {index, as}: the cell and the encoding it was read in; or {error}, one sentence.
export function parseCell(text) {
  const plain = text.trim().replace(/^Cell\.from_index\((\d+)\)$/, '$1');
  if (plain === '') return { error: 'Type an index, a NAS-Bench-201 string, or another encoding of a cell.' };
  if (/^\d+$/.test(plain) && plain.length !== 6) {
    if (plain !== String(Number(plain))) return { error: `An index does not begin with 0; did you mean ${Number(plain)}?` };
    return Number(plain) < SIZE ? { index: Number(plain), as: 'index' } : { error: `A cell index lies in 0 to ${SIZE - 1}.` };
  }
  if (/^\d{6}$/.test(plain)) {
    return fromCodes(Array.from(plain, Number), 'opcodes', 'Six digits are opcodes, each from 0 to 4.');
  }
  if (plain.includes('|') || plain.includes('~')) return parseString(plain);
  const numbers = (plain.match(/-?\d+/g) ?? []).map(Number);
  if (/^[\s\d,()[\].-]+$/.test(plain)) {
    if (numbers.length === 30) return fromOneHot(numbers);
    if (numbers.length === 16) return fromMatrix(numbers);
    if (numbers.length === 6 && plain.startsWith('(')) return fromSuiteZero(numbers);
    if (numbers.length === 6) return fromCodes(numbers, 'opcodes', 'Opcodes are six numbers from 0 to 4.');
  }
  return { error: `“${plain}” is no cell: expected an index, a string |op~0|+|op~0|op~1|+…, six opcodes, or another encoding.` };
}

function fromCodes(codes, as, problem) {
  return codes.every((code) => code >= 0 && code < 5) ? { index: indexOf(codes), as } : { error: problem };
}

function fromSuiteZero(numbers) {
  const codes = [];
  numbers.forEach((number, place) => {
    codes[SUITE_ZERO_EDGES[place]] = OPERATIONS.indexOf(SUITE_ZERO_OPERATIONS[number] ?? '');
  });
  return fromCodes(codes, 'NASLib tuple', 'A NASLib tuple has six numbers from 0 to 4.');
}

function fromMatrix(numbers) {
  const isUpper = (place) => place % 4 >= Math.floor(place / 4);
  if (numbers.some((number, place) => number && isUpper(place))) {
    return { error: 'An adjacency matrix has zeros on and above its diagonal: row is target, column is source.' };
  }
  const codes = EDGES.map(([source, target]) => numbers[4 * target + source]);
  return fromCodes(codes, 'adjacency matrix', 'An adjacency matrix has operation numbers from 0 to 4.');
}

function fromOneHot(numbers) {
  const rows = [0, 1, 2, 3, 4, 5].map((row) => numbers.slice(5 * row, 5 * row + 5));
  const isOneHot = rows.every((row) => row.reduce((sum, bit) => sum + bit, 0) === 1 && row.every((bit) => bit === 0 || bit === 1));
  if (!isOneHot) return { error: 'A one-hot matrix has one 1 and four 0 in each of six rows.' };
  return fromCodes(rows.map((row) => row.indexOf(1)), 'one-hot matrix', '');
}

function parseString(text) {
  const nodes = text.split('+');
  if (nodes.length !== 3) return { error: `A NAS-Bench-201 string has 3 nodes joined by “+”; this has ${nodes.length}.` };
  const codes = [];
  for (const [place, node] of nodes.entries()) {
    const edges = node.replace(/^\||\|$/g, '').split('|');
    if (!/^\|.*\|$/.test(node) || edges.length !== place + 1) {
      return { error: `Node ${place + 1} of the string needs ${place + 1} edge(s) between “|”.` };
    }
    for (const [source, edge] of edges.entries()) {
      const [name, number] = edge.split('~');
      if (number !== String(source)) return { error: `Edge ${codes.length}: expected “operation~${source}”, got “${edge}”.` };
      if (!OPERATIONS.includes(name)) return { error: `Edge ${codes.length}: unknown operation “${name}”; there are ${OPERATIONS.join(', ')}.` };
      codes.push(OPERATIONS.indexOf(name));
    }
  }
  return { index: indexOf(codes), as: 'string' };
}
