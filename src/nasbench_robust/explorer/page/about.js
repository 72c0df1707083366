// What this page is, where its numbers come from, and how to cite them.

import { byId, copy, element } from './format.js'
import { about, releases } from './data.js'

const KEYS = [
  ['← ↑ → ↓', 'in the landscape: the next cell in that direction'],
  ['+ − 0', 'zoom in, zoom out, show everything'],
  ['Shift + drag', 'draw a box: the leaderboard then has its cells alone'],
  ['Enter', 'in the landscape: pin the cell; on an edge: choose its operation'],
  ['1 to 5', 'on an edge: none, skip, 1×1, 3×3, pool'],
  ['/', 'find a cell by index, string or another encoding'],
  ['Esc', 'close a menu, remove the box'],
];

export function openAbout() {
  byId('about-button').onclick = () => byId('about-box').showModal();
  byId('about-close').onclick = () => byId('about-box').close();
  byId('version').textContent = about.version;
  byId('sources').replaceChildren(...releases.map(source));
  byId('keys').replaceChildren(...KEYS.flatMap(([keys, meaning]) => [element('dt', {}, keys), element('dd', {}, meaning)]));
  byId('flops-rule').textContent = `FLOPs: ${about.flops_rule}.`;
}

function source(release) {
  return element(
    'section.source',
    { 'data-release': release.name },
    element('h3', {}, release.title),
    element('p', {}, `Release ${release.name}, version ${release.version}. Licence: ${release.licence}. Source: ${release.source}`),
    element('pre', {}, release.citation),
    element('button', { onclick: () => copy(release.citation, 'BibTeX') }, 'Copy BibTeX'),
  );
}
