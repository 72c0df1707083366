// What lies over the points: the front, searches, neighbours, pins, the chosen cell, the box that is being drawn.

import { PINS, css } from './colours.js'
import { front } from './points.js'
import { neighbours, twins } from './space.js'
import { inBox } from './filters.js'
import { numbers, pins, state } from './state.js'
import { searches } from './searches.js'

export function paintMarks(landscape) {
  const context = landscape.marks.getContext('2d');
  const ratio = devicePixelRatio;
  context.reset(); // not clearRect, which on paper is white, and hides the points
  context.scale(ratio, ratio);
  const marks = new Marks(context, landscape);
  if (state.box && landscape.isFirst()) marks.box(boxCorners(landscape));
  if (state.pareto) marks.front();
  searches.forEach((search) => marks.search(search));
  if (state.near) marks.neighbours(state.cell);
  pins().forEach((index, place) => marks.pin(index, PINS[place]));
  marks.chosen(state.cell);
  if (landscape.hovered >= 0) marks.ring(landscape.position(landscape.cells[landscape.hovered]), 6, css('--ink'), 1.5);
  if (landscape.drag) marks.box(landscape.drag);
}

function boxCorners(landscape) {
  const [x0, x1, y0, y1] = numbers(state.box);
  const pixel = (side, value) => {
    const [slope, offset] = landscape.pixels(side);
    return slope * landscape.transform(side, value) + offset;
  };
  return [[pixel('x', x0), pixel('y', y0)], [pixel('x', x1), pixel('y', y1)]];
}

class Marks {
  constructor(context, landscape) {
    this.context = context;
    this.landscape = landscape;
  }

  ring([x, y], radius, colour, width, dash = []) {
    const { context } = this;
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.setLineDash(dash);
    Object.assign(context, { strokeStyle: colour, lineWidth: width });
    context.stroke();
    context.setLineDash([]);
  }

  line(positions, colour, width, dash = []) {
    const { context } = this;
    context.beginPath();
    positions.forEach(([x, y], place) => (place ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.setLineDash(dash);
    Object.assign(context, { strokeStyle: colour, lineWidth: width, lineJoin: 'round' });
    context.stroke();
    context.setLineDash([]);
  }

  box([[x0, y0], [x1, y1]]) {
    const { context } = this;
    context.fillStyle = css('--accent-soft');
    context.fillRect(x0, y0, x1 - x0, y1 - y0);
    this.line([[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]], css('--accent'), 1);
  }

  // Steps through the cells that no other beats: what lies between two of them, nobody reaches.
  front() {
    const { landscape } = this;
    const positions = frontOf(landscape).map((index) => landscape.position(index));
    const steps = positions.flatMap(([x, y], place) => (place ? [[x, positions[place - 1][1]], [x, y]] : [[x, y]]));
    this.line(steps, css('--accent'), 1.5);
    positions.forEach((position) => this.ring(position, 4.5, css('--accent'), 1.5));
  }

  neighbours(index) {
    const { landscape } = this;
    const from = landscape.position(index);
    for (const other of new Set(neighbours(index))) {
      const to = landscape.position(other);
      if (!to.every(Number.isFinite)) continue;
      this.line([from, to], css('--line-strong'), 1);
      this.ring(to, 4, css('--ink'), 1);
    }
    for (const other of twins(index)) this.ring(landscape.position(other), 8, css('--ink'), 1.2, [3, 2]);
  }

  // A search: its queries as dots, and the way of the best so far as a line.
  search({ colour, shown }) {
    const { context, landscape } = this;
    for (const { index, best } of shown) {
      context.fillStyle = colour;
      context.globalAlpha = 0.55;
      for (const each of index) {
        const [x, y] = landscape.position(each);
        context.fillRect(x - 1.5, y - 1.5, 3, 3);
      }
      context.globalAlpha = 1;
      const way = best.filter((each, place) => each !== best[place - 1]).map((each) => landscape.position(each));
      this.line(way.filter((position) => position.every(Number.isFinite)), colour, 1.8);
      if (way.length) this.ring(way.at(-1), 5, colour, 2);
    }
  }

  pin(index, letter) {
    const { context, landscape } = this;
    const [x, y] = landscape.position(index);
    if (!Number.isFinite(x + y)) return;
    const away = y > 28 ? -1 : 1; // above the point, below it at the upper edge
    context.fillStyle = css('--ink');
    context.beginPath();
    context.arc(x, y + 16 * away, 8.5, 0, 2 * Math.PI);
    context.fill();
    this.line([[x, y + 8 * away], [x, y]], css('--ink'), 1.5);
    Object.assign(context, { fillStyle: css('--card'), font: '600 11px system-ui, sans-serif', textAlign: 'center', textBaseline: 'middle' });
    context.fillText(letter, x, y + 16 * away + 0.5);
  }

  chosen(index) {
    const position = this.landscape.position(index);
    if (!position.every(Number.isFinite)) return;
    this.ring(position, 8, css('--card'), 5);
    this.ring(position, 8, css('--accent'), 2.5);
    this.context.fillStyle = css('--accent');
    this.context.beginPath();
    this.context.arc(...position, 3, 0, 2 * Math.PI);
    this.context.fill();
  }
}

// Cells of a landscape that no other of it beats, from one end of the front to the other.
export function frontOf(landscape) {
  const isIn = inBox();
  const cells = isIn ? landscape.cells.filter(isIn) : landscape.cells;
  const better = ['x', 'y'].map((side) => landscape.variable(side).better * (landscape.scale(side) === 'rank' ? -landscape.variable(side).better : 1));
  const [x, y] = landscape.values.map((values) => Float64Array.from(cells, (index) => values[index]));
  return front(x, y, better).map((place) => cells[place]);
}
