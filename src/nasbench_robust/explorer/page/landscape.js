// A landscape: every cell a point between two axes. uPlot keeps the axes; points, gestures and marks are ours.

import { say, short, element } from './format.js'
import { css } from './colours.js'
import { drawPoints, levelsOf, nearest, nearestTowards, radiusFor } from './points.js'
import { coordinates, inBox, shownCells } from './filters.js'
import { variable } from './variables.js'
import { numbers, state, togglePin, update } from './state.js'
import { paintMarks } from './overlay.js'
import { describe, showTip } from './tip.js'

const ARROWS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Landscape {
  // `axes` names the fields of the state that hold the variables: ['x', 'y'], or ['x2', 'y2'] of the second landscape.
  constructor(host, axes) {
    this.axes = axes;
    this.host = host;
    this.dots = element('canvas.marks');
    this.marks = element('canvas.marks');
    this.view = null; // ranges of the axes, as they are drawn (logarithms on a log axis); null for everything
    this.hovered = -1;
    this.mode = 'pan';
    new ResizeObserver(() => this.plot && this.resize()).observe(host);
    this.listen();
  }

  isFirst() {
    return this.axes[0] === 'x';
  }

  scale(side) {
    return side === 'x' ? state.xs : state.ys;
  }

  variable(side) {
    return variable(state[this.axes[side === 'x' ? 0 : 1]]);
  }

  transform(side, value) {
    return this.scale(side) === 'log' ? Math.log10(value) : value;
  }

  // Values to coordinates of the axes, colours to levels; then everything is drawn anew.
  load() {
    this.values = ['x', 'y'].map((side, place) => coordinates(state[this.axes[place]], this.scale(side)));
    const isThere = (index) => this.values.every((values, place) => Number.isFinite(this.transform('xy'[place], values[index])));
    this.cells = Int32Array.from(shownCells().filter(isThere));
    this.at = ['x', 'y'].map((side, place) => Float64Array.from(this.cells, (index) => this.transform(side, this.values[place][index])));
    this.colour = levelsOf(variable(state.c).values, this.cells, variable(state.c).kind);
    this.place = new Map(Array.from(this.cells, (index, place) => [index, place]));
    this.points = { x: new Float32Array(this.cells.length), y: new Float32Array(this.cells.length), level: this.colour.level };
    this.full = this.at.map((values) => padded(values));
    const zoom = this.isFirst() ? numbers(state.zoom) : null;
    this.view = zoom && [zoom.slice(0, 2), zoom.slice(2)].map((range, place) => range.map((value) => this.transform('xy'[place], value)));
    this.build();
  }

  build() {
    this.plot?.destroy();
    const axis = (side) => ({
      scale: side,
      side: side === 'x' ? 2 : 3,
      label: this.variable(side).title + { linear: '', log: ' (log)', rank: ' (rank)' }[this.scale(side)],
      stroke: () => css('--muted'),
      font: '12px system-ui, sans-serif',
      labelFont: '600 12px system-ui, sans-serif',
      labelSize: 22,
      size: side === 'x' ? 34 : 54,
      grid: { stroke: () => css('--grid'), width: 1 },
      ticks: { show: false },
      splits: this.scale(side) === 'log' ? (_, __, min, max) => logTicks(min, max) : undefined,
      filter: (_, splits) => splits,
      values: (_, splits) => ticks(splits),
    });
    const scale = (side) => ({
      time: false,
      distr: this.scale(side) === 'log' ? 3 : 1,
      dir: this.scale(side) === 'rank' ? -1 : 1,
      range: () => this.range(side),
    });
    this.plot = new uPlot(
      {
        mode: 2,
        width: Math.max(200, this.host.clientWidth),
        height: Math.max(200, this.host.clientHeight),
        padding: [14, 14, 0, 0],
        legend: { show: false },
        cursor: { show: false },
        scales: { x: scale('x'), y: scale('y') },
        axes: [axis('x'), axis('y')],
        series: [{}, { facets: [{ scale: 'x', auto: true }, { scale: 'y', auto: true }], paths: () => null, points: { show: false } }],
        hooks: { draw: [() => this.draw()] },
      },
      [null, [[0, 1], [0, 1]]],
      this.host,
    );
    this.plot.over.append(this.dots, this.marks);
  }

  // Give the canvases over the plot its size in pixels.
  fit() {
    const { offsetWidth: width, offsetHeight: height } = this.plot.over;
    if (this.dots.width === Math.round(width * devicePixelRatio) && this.dots.height === Math.round(height * devicePixelRatio)) return;
    for (const canvas of [this.dots, this.marks]) {
      Object.assign(canvas, { width: Math.round(width * devicePixelRatio), height: Math.round(height * devicePixelRatio) });
      Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
    }
  }

  resize() {
    const [width, height] = [Math.max(200, this.host.clientWidth), Math.max(200, this.host.clientHeight)];
    if (width === this.plot.width && height === this.plot.height) return;
    this.plot.setSize({ width, height });
  }

  range(side) {
    const range = (this.view ?? this.full)['xy'.indexOf(side)];
    return this.scale(side) === 'log' ? range.map((value) => 10 ** value) : range;
  }

  // Slope and offset from coordinates to pixels inside the axes.
  pixels(side) {
    const [low, high] = this.range(side);
    const [from, to] = [low, high].map((value) => this.plot.valToPos(value, side));
    const [start, end] = [low, high].map((value) => this.transform(side, value));
    const slope = (to - from) / (end - start);
    return [slope, from - slope * start];
  }

  position(index) {
    return ['x', 'y'].map((side, place) => {
      const [slope, offset] = this.pixels(side);
      return slope * this.transform(side, this.values[place][index]) + offset;
    });
  }

  redraw() {
    const [x, y] = [this.range('x'), this.range('y')];
    this.plot.batch(() => {
      this.plot.setScale('x', { min: x[0], max: x[1] });
      this.plot.setScale('y', { min: y[0], max: y[1] });
    });
    this.plot.redraw(false);
  }

  draw() {
    this.fit();
    ['x', 'y'].forEach((side, place) => {
      const [slope, offset] = this.pixels(side);
      const [to, from] = [this.points[side], this.at[place]];
      for (let each = 0; each < from.length; each++) to[each] = slope * from[each] + offset;
    });
    const isIn = inBox();
    const isFaint = isIn && ((place) => !isIn(this.cells[place]));
    drawPoints(this.dots, this.points, radiusFor(this.cells.length), devicePixelRatio, isFaint);
    this.paint();
  }

  paint() {
    paintMarks(this);
  }

  // ---------------------------------------------------------------- zoom

  zoomBy(factor, x = this.plot.over.clientWidth / 2, y = this.plot.over.clientHeight / 2) {
    const view = this.view ?? this.full;
    this.view = ['x', 'y'].map((side, place) => {
      const [slope, offset] = this.pixels(side);
      const centre = ((side === 'x' ? x : y) - offset) / slope;
      return view[place].map((value) => centre + (value - centre) * factor);
    });
    this.redraw();
    this.remember();
  }

  pan(dx, dy) {
    const view = this.view ?? this.full;
    this.view = ['x', 'y'].map((side, place) => {
      const shift = (side === 'x' ? dx : dy) / this.pixels(side)[0];
      return view[place].map((value) => value - shift);
    });
    this.redraw();
  }

  reset() {
    this.view = null;
    this.redraw();
    this.remember();
  }

  // Keep the view in the address, once a gesture has come to rest.
  remember() {
    if (!this.isFirst()) return;
    clearTimeout(this.rest);
    this.rest = setTimeout(() => {
      const parts = this.view ? ['x', 'y'].flatMap((side) => this.range(side).map((value) => Number(value.toPrecision(6)))) : [];
      this.own = parts.join(',');
      update({ zoom: this.own });
    }, 150);
  }

  // ---------------------------------------------------------------- gestures

  listen() {
    const host = this.host;
    Object.assign(host, { tabIndex: 0 });
    host.setAttribute('role', 'application');
    host.setAttribute('aria-roledescription', 'scatter plot');
    const fingers = new Map();
    let [start, moved, last] = [null, false, null];
    const inside = (event) => {
      const box = this.plot.over.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    host.addEventListener('pointerdown', (event) => {
      if (event.button > 0) return;
      fingers.set(event.pointerId, inside(event));
      [start, last, moved] = [inside(event), inside(event), false];
      host.setPointerCapture(event.pointerId);
    });
    host.addEventListener('pointermove', (event) => {
      const now = inside(event);
      if (!fingers.has(event.pointerId)) return this.hover(...now, event);
      const before = fingers.get(event.pointerId);
      if (fingers.size === 2) {
        const [other] = [...fingers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
        const distance = (at) => Math.hypot(at[0] - other[0], at[1] - other[1]) || 1;
        this.zoomBy(distance(before) / distance(now), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
        moved = true;
      } else if (moved || Math.hypot(now[0] - start[0], now[1] - start[1]) > 4) {
        moved = true;
        if (this.mode === 'box' || event.shiftKey) this.drag = [start, now];
        else this.pan(now[0] - last[0], now[1] - last[1]);
        this.paint();
      }
      fingers.set(event.pointerId, now);
      last = now;
    });
    const end = (event) => {
      if (!fingers.delete(event.pointerId)) return;
      if (this.drag) this.chooseBox(...this.drag);
      else if (!moved && event.type === 'pointerup') this.click(...inside(event));
      else this.remember();
      this.drag = null;
    };
    host.addEventListener('pointerup', end);
    host.addEventListener('pointercancel', end);
    host.addEventListener('pointerleave', () => this.hover(-99, -99));
    host.addEventListener('dblclick', () => this.reset());
    host.addEventListener('wheel', (event) => (event.preventDefault(), this.zoomBy(1.0016 ** event.deltaY, ...inside(event))), { passive: false });
    host.addEventListener('keydown', (event) => this.key(event));
  }

  hover(x, y, event) {
    const place = nearest(this.points, x, y, event?.pointerType === 'touch' ? 0 : 16);
    if (place === this.hovered) return;
    this.hovered = place;
    this.host.classList.toggle('over-point', place >= 0);
    showTip(this, place < 0 ? null : this.cells[place]);
    this.paint();
  }

  click(x, y) {
    const place = nearest(this.points, x, y, 22);
    if (place >= 0) update({ cell: this.cells[place] });
  }

  chooseBox([x0, y0], [x1, y1]) {
    if (!this.isFirst()) return;
    const range = (side, one, other) => {
      const [slope, offset] = this.pixels(side);
      const ends = [one, other].map((pixel) => (pixel - offset) / slope).map((value) => (this.scale(side) === 'log' ? 10 ** value : value));
      return ends.sort((a, b) => a - b).map((value) => Number(value.toPrecision(6)));
    };
    update({ box: [...range('x', x0, x1), ...range('y', y0, y1)].join(',') });
  }

  key(event) {
    const act = { '+': () => this.zoomBy(0.7), '=': () => this.zoomBy(0.7), '-': () => this.zoomBy(1.4), 0: () => this.reset() }[event.key];
    if (act) return act();
    if (event.key === 'Escape') return update({ box: '' });
    if (event.key === 'Enter') return togglePin(state.cell);
    if (!ARROWS[event.key]) return undefined;
    event.preventDefault();
    const own = this.place.get(state.cell) ?? nearest(this.points, ...this.position(state.cell), Infinity);
    const place = nearestTowards(this.points, own, ARROWS[event.key]);
    if (place < 0) return say('No cell lies further in that direction.');
    update({ cell: this.cells[place] });
    return say(describe(this, this.cells[place]));
  }
}

function ticks(splits) {
  const isLarge = splits.some((value) => Math.abs(value) >= 10000);
  return splits.map((value) => (isLarge ? short(value) : String(Number(value.toPrecision(6)))));
}

function padded(values) {
  let [least, most] = [Infinity, -Infinity];
  for (const value of values) [least, most] = [Math.min(least, value), Math.max(most, value)];
  if (!(most >= least)) return [0, 1];
  const room = (most - least || Math.abs(most) || 1) * 0.05;
  return [least - room, most + room];
}

// Ticks of a log axis: 1, 2, 5 of every power of ten, or evenly between where it spans less.
function logTicks(min, max) {
  if (max / min < 12) {
    const rough = (max - min) / 6;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
    const first = Math.ceil(min / step);
    return Array.from({ length: Math.floor(max / step) - first + 1 }, (_, place) => (first + place) * step);
  }
  const ticks = [];
  for (let power = Math.floor(Math.log10(min)); power <= Math.log10(max); power++) {
    ticks.push(...[1, 2, 5].map((each) => each * 10 ** power));
  }
  return ticks.filter((tick) => tick >= min && tick <= max);
}
