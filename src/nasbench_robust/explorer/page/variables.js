// What an axis or a colour can show: every metric of every data set, sizes, costs, and facts of the cell itself.

import { OPERATIONS, LONG, SIZE, codesOf, depth, space } from './space.js'
import { budget } from './format.js'
import { datasets, lowerBound, metrics } from './data.js'

const variables = new Map();

const NAMES = { clean_acc: 'clean', fgsm_acc: 'FGSM', pgd_acc: 'PGD', autoattack_acc: 'AutoAttack', apgd_ce_acc: 'APGD-CE', square_acc: 'Square', corruption_acc: 'corruptions' };

// Name of a metric with its budget: "PGD 8/255", and the split unless that is test.
export function metricLabel(metric) {
  const norm = metric.attack && metric.attack.norm !== 'Linf' ? `${metric.attack.norm} ` : '';
  const eps = metric.attack ? ` ${norm}${budget(metric.attack.eps)}` : '';
  return `${NAMES[metric.name] ?? metric.name}${eps}${metric.split === 'test' ? '' : ` · ${metric.split}`}`;
}

export class Variable {
  constructor(id, group, label, kind, better, compute) {
    Object.assign(this, { id, group, label, kind, better, compute });
    this.title = group === 'Cell' ? label : `${label} · ${group}`;
  }

  // Values by cell index.
  get values() {
    const values = this.compute();
    Object.defineProperty(this, 'values', { value: values });
    return values;
  }

  // Ranks among classes by cell index: 1 is the best accuracy, or the smallest size; equal values share the first.
  get ranks() {
    const own = this.values.filter((value, index) => space.representatives[index] === index && !Number.isNaN(value));
    const sorted = own.map((value) => -this.better * value).sort();
    const ranks = this.values.map((value) => (Number.isNaN(value) ? NaN : lowerBound(sorted, -this.better * value) + 1));
    Object.defineProperty(this, 'ranks', { value: ranks });
    return ranks;
  }
}

const every = (compute) => () => Float64Array.from({ length: SIZE }, (_, index) => compute(index));

export function openVariables() {
  const add = (...parts) => variables.set(parts[0], new Variable(...parts));
  const codes = Array.from({ length: SIZE }, (_, index) => codesOf(index));
  const counts = OPERATIONS.map((_, code) => codes.map((each) => each.filter((own) => own === code).length));
  const [one, three] = ['nor_conv_1x1', 'nor_conv_3x3'].map((name) => counts[OPERATIONS.indexOf(name)]);
  for (const dataset of datasets) {
    for (const metric of dataset.metrics) {
      add(metric.id, dataset.label, metricLabel(metric), 'accuracy', 1, () => metric.values);
      variables.get(metric.id).metric = metric;
    }
    for (const [kind, label] of [['parameters', 'parameters'], ['flops', 'FLOPs']]) {
      add(`${dataset.id}/${kind}`, dataset.label, label, 'size', -1, every((index) => dataset.size(kind, one[index], three[index])));
    }
    if (dataset.seconds) {
      const label = dataset.seconds.name === 'train_seconds' ? 'training seconds' : 'training CPU seconds';
      add(`${dataset.id}/seconds`, dataset.label, label, 'seconds', -1, () => dataset.seconds.values);
    }
  }
  OPERATIONS.forEach((name, code) => add(`count/${name}`, 'Cell', `edges: ${LONG[name]}`, 'count', 1, () => Float64Array.from(counts[code])));
  add('depth', 'Cell', 'depth: convolutions in a row', 'count', 1, every(depth));
}

export const variable = (id) => variables.get(id);
export const allVariables = () => [...variables.values()];

// The data set that a variable belongs to, else the first.
export function datasetOf(id) {
  return datasets.find((dataset) => id?.startsWith(`${dataset.id}/`)) ?? datasets[0];
}

// The metric that a landscape is mostly about: that of its y axis, else of x, else the first under attack.
export function mainMetric(state) {
  return metrics.get(state.y) ?? metrics.get(state.x) ?? strongest(datasetOf(state.y));
}

// The default metric under the strongest attack but AutoAttack, whose seeds are fewer: PGD, where there is one.
export function strongest(dataset) {
  const own = dataset.metrics.filter((metric) => metric.isDefault && metric.split === 'test');
  return own.find((metric) => metric.name === 'pgd_acc') ?? own.at(-1) ?? dataset.metrics[0];
}
