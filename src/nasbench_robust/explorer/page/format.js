// How elements are made and numbers are written.

const SVG = 'http://www.w3.org/2000/svg';
const SVG_TAGS = new Set(['svg', 'g', 'path', 'circle', 'rect', 'text', 'line', 'title', 'polyline']);

// element('button.primary', {onclick: f, 'aria-label': 'x'}, 'text', otherElement)
export function element(tag, attributes = {}, ...children) {
  const [name, ...classes] = tag.split('.');
  const made = SVG_TAGS.has(name) ? document.createElementNS(SVG, name) : document.createElement(name);
  if (classes.length) made.setAttribute('class', classes.join(' '));
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith('on')) made.addEventListener(key.slice(2), value);
    else if (key === 'style') made.style.cssText = value;
    else if (key in made && name !== 'svg' && !SVG_TAGS.has(name) && key !== 'list') made[key] = value;
    else made.setAttribute(key, value === true ? '' : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

export const byId = (id) => document.getElementById(id);

const WHOLE = new Intl.NumberFormat('en');

export function integer(value) {
  return Number.isNaN(value) ? '–' : WHOLE.format(value);
}

// Numbers as they are read: accuracies with four digits, sizes with their unit.
export function number(value, kind) {
  if (value === null || value === undefined || Number.isNaN(value)) return '–';
  if (kind === 'accuracy') return value.toFixed(4);
  if (kind === 'seconds') return `${value.toPrecision(3)} s`;
  if (kind === 'size') return short(value);
  return WHOLE.format(value);
}

export function short(value) {
  for (const [unit, size] of [['G', 1e9], ['M', 1e6], ['k', 1e3]]) {
    if (value >= size) return `${Number((value / size).toPrecision(3))}\u202f${unit}`;
  }
  return String(Number(value.toPrecision(3)));
}

// A difference with its sign; a true minus, so that columns line up.
export function signed(value) {
  if (Number.isNaN(value)) return '–';
  if (value === 0) return '±0';
  return `${value > 0 ? '+' : '−'}${Math.abs(value).toFixed(4)}`;
}

// A budget of an attack as it is written: 8/255, or a decimal.
export function budget(eps) {
  const levels = eps * 255;
  return Math.abs(levels - Math.round(levels)) < 1e-6 && String(eps).length > 6 ? `${Math.round(levels)}/255` : String(eps);
}

export function say(text) {
  byId('live').textContent = text;
}

export function toast(text) {
  const box = byId('toast');
  box.textContent = text;
  box.classList.add('shown');
  clearTimeout(box.timer);
  box.timer = setTimeout(() => box.classList.remove('shown'), 2600);
}

export function download(name, text, type) {
  const link = element('a', { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    toast(`${what} copied`);
  } catch {
    window.prompt(`Copy ${what.toLowerCase()}:`, text); // where a page from disk may not write to the clipboard
  }
}
