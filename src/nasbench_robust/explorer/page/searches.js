// Searches that were saved by `Repeats.save`: read from a file of the user, drawn over the landscape.

import { byId, element, toast, say } from './format.js'
import { releases } from './data.js'
import { SIZE } from './space.js'
import { update } from './state.js'

const KEY = 'nasbench_robust_searches';
const COLOURS = ['#d6336c', '#f08c00', '#0c8599', '#7048e8', '#2f9e44', '#868e96'];

// {name, colour, about, repeats: [{index, best}], shown: those of them that are drawn}
export const searches = [];
let changes = 0;

export async function addSearch(file) {
  try {
    const { about, repeats } = readSearch(await Parquet.parquet(await file.arrayBuffer()));
    const method = about.settings?.method ?? file.name.replace(/\.parquet$/, '');
    const taken = new Set(searches.map((search) => search.colour));
    const colour = COLOURS.find((each) => !taken.has(each)) ?? COLOURS.at(-1);
    searches.push({ name: String(method), file: file.name, colour, about, repeats, shown: repeats.slice(0, 1) });
    const isHere = releases.some((release) => release.name === about.release.name);
    const note = isHere ? '' : ` They searched ${about.release.name}, which this page does not have: only the cells are drawn.`;
    toast(`${repeats.length} searches of ${method} loaded.${note}`);
    say(`${repeats.length} searches of ${method} loaded.`);
    listSearches();
  } catch (error) {
    toast(`${file.name} holds no searches: expected a Parquet file that Repeats.save wrote (${error.message}).`);
  }
}

function readSearch({ rows, metadata }) {
  const stored = metadata.key_value_metadata?.find(({ key }) => key === KEY);
  if (!stored) throw new Error('without its description');
  const about = JSON.parse(stored.value);
  const repeats = Array.from({ length: about.repeats }, () => ({ index: [], best: [], most: -Infinity }));
  const [metric, ...others] = about.problem.metrics;
  for (const row of rows) {
    const repeat = repeats[Number(row.repeat)];
    const index = Number(row.index);
    if (!repeat || !(index >= 0 && index < SIZE)) throw new Error('cells or repeats out of range');
    repeat.index.push(index);
    if (others.length) continue; // of several objectives there is no best cell
    if (row[metric] > repeat.most) Object.assign(repeat, { most: row[metric], last: index });
    repeat.best.push(repeat.last);
  }
  return { about, repeats };
}

export function listSearches() {
  byId('searches').replaceChildren(...searches.map(row));
  update({ searches: ++changes });
}

function row(search) {
  const choice = element(
    'select',
    { 'aria-label': `Which searches of ${search.name} are drawn`, onchange: (event) => choose(search, event.target.value) },
    search.repeats.map((_, place) => element('option', { value: String(place) }, `repeat ${place}`)),
    element('option', { value: 'all' }, `all ${search.repeats.length}`),
  );
  const remove = () => {
    searches.splice(searches.indexOf(search), 1);
    listSearches();
  };
  const queries = search.repeats[0]?.index.length ?? 0;
  return element(
    'li',
    { title: `${search.file}: ${queries} queries of ${search.about.problem.metrics.join(', ')} on ${search.about.release.name}` },
    element('span.swatch', { style: `--op: ${search.colour}` }),
    element('span.grow', {}, search.name),
    choice,
    element('button.quiet', { 'aria-label': `Remove ${search.name}`, onclick: remove }, '×'),
  );
}

function choose(search, value) {
  search.shown = value === 'all' ? search.repeats : [search.repeats[Number(value)]];
  update({ searches: ++changes });
}
