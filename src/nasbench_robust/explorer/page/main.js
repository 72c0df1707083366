// The page as a whole: opens the data, then the parts, and keeps them in step.

import { byId, copy, say, toast } from './format.js'
import { about, datasets, openData, releases } from './data.js'
import { datasetOf, openVariables, strongest, variable } from './variables.js'
import { ALL_OPERATIONS, everythingChanged, openState, state, update, watch } from './state.js'
import { forgetColours } from './colours.js'
import { FILTERS } from './filters.js'
import { Landscape } from './landscape.js'
import { openControls, otherDataset, showFront, showLegend } from './controls.js'
import { openCell } from './cell.js'
import { redrawCurves } from './evidence.js'
import { openLeaderboard } from './leaderboard.js'
import { openCompare } from './compare.js'
import { openAbout } from './about.js'
import { parseCell } from './space.js'

const THEMES = { '': 'light', light: 'dark', dark: '' };

function startingState() {
  const dataset = datasets[0];
  const other = otherDataset(dataset);
  const clean = (of) => of.metrics.find((metric) => metric.name === 'clean_acc') ?? of.metrics[0];
  const y = strongest(dataset).id;
  return {
    tab: 'landscape', x: clean(dataset).id, y, c: 'depth', xs: 'linear', ys: 'linear',
    x2: other === dataset ? `${dataset.id}/parameters` : clean(other).id, y2: strongest(other).id, side: false,
    view: 'representatives', ops: ALL_OPERATIONS, low: '', high: '', connected: false, twins: false, box: '', zoom: '',
    pareto: false, near: false, cell: best(y), pins: '', sort: y, desc: true, q: '', page: '0', image: '',
  };
}

// The cell with the best value; of equal ones the first.
function best(id) {
  const { values, better } = variable(id);
  return values.reduce((most, value, index) => (better * value > better * values[most] || Number.isNaN(values[most]) ? index : most), 0);
}

function openLandscapes() {
  const first = new Landscape(byId('plot'), ['x', 'y']);
  const second = new Landscape(byId('plot-2'), ['x2', 'y2']);
  const landscapes = () => (state.side ? [first, second] : [first]);
  const each = (act) => () => state.tab === 'landscape' && landscapes().forEach(act);
  const load = each((landscape) => {
    landscape.load();
    const title = `${landscape.variable('y').title} against ${landscape.variable('x').title}`;
    landscape.host.setAttribute('aria-label', `${title}, ${landscape.cells.length} cells. Arrow keys go from cell to cell.`);
    if (landscape === first) showLegend(first);
  });
  watch(['x', 'y', 'c', 'xs', 'ys', 'x2', 'y2', 'side', 'tab', ...FILTERS], load);
  watch(['box'], each((landscape) => landscape.redraw()));
  watch(['pareto', 'x', 'y', 'xs', 'ys', 'box', ...FILTERS], () => showFront(first));
  watch(['zoom'], () => state.zoom !== first.own && load());
  watch(['cell', 'pins', 'pareto', 'near', 'searches'], each((landscape) => landscape.paint()));
  load();
  showFront(first);
  return [first, second];
}

function openTabs() {
  const tabs = [...document.querySelectorAll('[role=tab]')];
  for (const tab of tabs) {
    tab.onclick = () => update({ tab: tab.dataset.tab });
    tab.onkeydown = (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length];
      next.focus();
      next.click();
    };
  }
  const show = () => {
    for (const tab of tabs) {
      const isOn = tab.dataset.tab === state.tab;
      tab.setAttribute('aria-selected', String(isOn));
      tab.tabIndex = isOn ? 0 : -1;
      byId(tab.getAttribute('aria-controls')).hidden = !isOn;
    }
  };
  watch(['tab'], show);
  show();
}

function openFind() {
  byId('find-form').onsubmit = (event) => {
    event.preventDefault();
    const found = parseCell(byId('find').value);
    byId('find-error').textContent = found.error ?? '';
    byId('find').setAttribute('aria-invalid', String(Boolean(found.error)));
    if (found.error) return;
    update({ cell: found.index });
    if (found.as !== 'index') toast(`Cell ${found.index}, read as ${found.as}`);
    say(`Cell ${found.index}`);
    byId('find').value = '';
  };
  byId('find').oninput = () => (byId('find-error').textContent = '');
  byId('best').onclick = () => update({ cell: best(state.y) });
  addEventListener('keydown', (event) => {
    if (event.key !== '/' || event.target.closest('input, textarea, select')) return;
    event.preventDefault();
    byId('find').focus();
  });
}

function openTheme() {
  const root = document.documentElement;
  const set = (theme) => {
    if (theme) root.dataset.theme = theme;
    else delete root.dataset.theme;
    byId('theme').setAttribute('aria-label', `Theme: ${theme || 'as the system'}. Change it`);
    byId('theme').textContent = { '': '◐', light: '☀', dark: '☾' }[theme];
  };
  let theme = '';
  try {
    theme = localStorage.getItem('theme') ?? '';
  } catch {
    // a page from disk may have no storage
  }
  set(theme in THEMES ? theme : '');
  byId('theme').onclick = () => {
    set(THEMES[root.dataset.theme ?? '']);
    try {
      localStorage.setItem('theme', root.dataset.theme ?? '');
    } catch {
      // as above
    }
    drawAnew();
  };
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawAnew);
}

function drawAnew() {
  forgetColours();
  everythingChanged();
  redrawCurves();
}

// Paper is light and narrow: the plots are drawn for it before it is laid out, and back again after it.
function openPrint() {
  const print = (isOn) => () => {
    document.documentElement.classList.toggle('printing', isOn);
    drawAnew();
  };
  addEventListener('beforeprint', print(true));
  addEventListener('afterprint', print(false));
}

// On a phone the plot comes first: what stands over it is folded.
function foldControls() {
  if (matchMedia('(max-width: 780px)').matches) document.querySelectorAll('#controls > details').forEach((part) => (part.open = false));
}

async function open() {
  await openData();
  for (const [name, colour] of Object.entries(about.space.picture.colours)) {
    if (name !== 'none') document.documentElement.style.setProperty(`--op-${name}`, colour);
  }
  openVariables();
  openState(startingState());
  openTheme();
  foldControls();
  openTabs();
  openControls(openLandscapes());
  openCell();
  openLeaderboard();
  openCompare();
  openAbout();
  openFind();
  openPrint();
  byId('share').onclick = () => copy(location.href, 'Address of this view');
  const release = () => datasetOf(state.y).release;
  const showSource = () => (byId('source').textContent = `${release().name} ${release().version}`);
  watch(['y'], showSource);
  showSource();
  document.title = `${releases.map((each) => each.name).join(', ')} · nasbench-robust explorer`;
  document.body.classList.remove('loading');
  performance.mark('ready');
}

open().catch((error) => {
  document.body.classList.remove('loading');
  byId('failed-to-open').hidden = false;
  byId('failed-to-open').textContent = `This page cannot be shown (${error.message}). It needs a browser of 2024 or later.`;
  throw error;
});
