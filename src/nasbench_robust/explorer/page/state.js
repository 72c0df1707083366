// What is shown: one flat object, kept in the address so that a view can be sent, and who wants to know of changes.

import { SIZE } from './space.js'
import { variable } from './variables.js'

export const ALL_OPERATIONS = 'vvvvvv'; // of every edge, which operations are let through: five bits as a digit of base 32
const SCALES = ['linear', 'log', 'rank'];
const VIEWS = ['representatives', 'smallest', 'families', 'all'];
const TABS = ['landscape', 'leaderboard', 'compare'];
const FLAGS = ['pareto', 'near', 'connected', 'twins', 'side', 'desc'];
const isNumbers = (length) => (text) => text === '' || (text.split(',').length === length && text.split(',').every((part) => Number.isFinite(Number(part))));
const isCells = (text) => text === '' || text.split(',').every((part) => /^\d{1,5}$/.test(part) && Number(part) < SIZE);
const isVariable = (text) => Boolean(variable(text));
const isAmount = (text) => text === '' || /^\d+$/.test(text);
// What each field may be; one of another form in the address is left out.
const FORMS = {
  tab: (text) => TABS.includes(text),
  x: isVariable,
  y: isVariable,
  c: isVariable,
  x2: isVariable,
  y2: isVariable,
  xs: (text) => SCALES.includes(text),
  ys: (text) => SCALES.includes(text),
  view: (text) => VIEWS.includes(text),
  ops: (text) => /^[0-9a-v]{6}$/.test(text),
  low: isAmount,
  high: isAmount,
  box: isNumbers(4),
  zoom: isNumbers(4),
  cell: isCells,
  pins: (text) => isCells(text) && text.split(',').length <= 4,
  sort: (text) => isVariable(text) || text === 'index',
  q: () => true,
  page: isAmount,
  image: () => true,
};

export const state = {};
let defaults;
const watchers = [];

export function openState(values) {
  defaults = values;
  Object.assign(state, defaults, fromAddress());
  addEventListener('hashchange', () => {
    const changes = { ...defaults, ...fromAddress() };
    if (toAddress(changes) !== toAddress(state)) update(changes);
  });
}

// Call `act` with the set of changed fields now and after every change of one of them.
export function watch(fields, act) {
  watchers.push({ fields, act });
}

export function update(changes) {
  const changed = new Set(Object.keys(changes).filter((key) => changes[key] !== state[key]));
  if (!changed.size) return;
  Object.assign(state, changes);
  const address = toAddress(state);
  try {
    history.replaceState(null, '', address || '#');
  } catch {
    location.replace(address || '#'); // where a page in a frame may not
  }
  for (const { fields, act } of watchers) if (fields.some((field) => changed.has(field))) act(changed);
}

export function everythingChanged() {
  for (const { act } of watchers) act(new Set(Object.keys(state)));
}

export const pins = () => (state.pins ? state.pins.split(',').map(Number) : []);
export const numbers = (text) => (text ? text.split(',').map(Number) : null);

export function togglePin(index) {
  const now = pins();
  if (now.includes(index)) update({ pins: now.filter((each) => each !== index).join(',') });
  else if (now.length === 4) return false;
  else update({ pins: [...now, index].join(',') });
  return true;
}

function toAddress(values) {
  const parts = Object.keys(defaults).filter((key) => values[key] !== defaults[key]);
  return parts.length ? `#${parts.map((key) => `${key}=${encode(values[key])}`).join('&')}` : '';
}

const encode = (value) => encodeURIComponent(String(value)).replaceAll('%2F', '/').replaceAll('%40', '@').replaceAll('%2C', ',');

function fromAddress() {
  const known = {};
  for (const [key, text] of new URLSearchParams(location.hash.slice(1).replaceAll('+', '%2B'))) {
    if (FLAGS.includes(key)) known[key] = text === 'true';
    else if (key in FORMS && FORMS[key](text)) known[key] = key === 'cell' ? Number(text) : text;
  }
  return known;
}
