// Functions of the logits of one block that attacks and training look at, with their gradients. A label is one integer
// per lane.
#pragma once

#include "vec.h"

namespace engine {

inline Vec logit_of(const Vec* logits, Mask label, int classes) {
  Vec found = {};
  for (int k = 0; k < classes; ++k) found = where(label == k, logits[k], found);
  return found;
}

// Label's logit minus the largest other one: not positive where the network is wrong.
inline Vec margin(const Vec* logits, Mask label, int classes) {
  Vec other = all(-1e30f);
  for (int k = 0; k < classes; ++k) other = where(label == k, other, larger(other, logits[k]));
  return logit_of(logits, label, classes) - other;
}

// Whether another class than the label comes first; of equal logits the first one counts, as for argmax.
inline Mask is_fooled(const Vec* logits, Mask label, int classes) {
  const Vec own = logit_of(logits, label, classes);
  Mask fooled = {};
  for (int k = 0; k < classes; ++k) fooled |= (logits[k] > own) | ((logits[k] == own) & (k < label));
  return fooled;
}

// gradient = softmax - one-hot of the label.
inline void cross_entropy_gradient(const Vec* logits, Mask label, int classes, Vec* gradient) {
  Vec most = logits[0], total = {};
  for (int k = 1; k < classes; ++k) most = larger(most, logits[k]);
  for (int k = 0; k < classes; ++k) total += gradient[k] = exponential(logits[k] - most);
  for (int k = 0; k < classes; ++k) gradient[k] = gradient[k] / total - where(label == k, all(1.f), Vec{});
}

inline Vec cross_entropy(const Vec* logits, Mask label, int classes) {
  Vec most = logits[0], total = {};
  for (int k = 1; k < classes; ++k) most = larger(most, logits[k]);
  for (int k = 0; k < classes; ++k) total += exponential(logits[k] - most);
  return logarithm(total) + most - logit_of(logits, label, classes);
}

// The targeted difference-of-logits ratio (z_t - z_y) / (z_1st - (z_3rd + z_4th) / 2) of Auto-PGD, of at least 4
// classes.
inline Vec targeted_dlr(const Vec* logits, Mask label, Mask target, int classes, Vec* gradient) {
  Vec best[4];
  Mask which[4];
  for (int i = 0; i < 4; ++i) best[i] = all(-1e30f), which[i] = Mask{} - 1;
  for (int k = 0; k < classes; ++k) {
    Vec value = logits[k];
    Mask index = Mask{} + k;
    for (int i = 0; i < 4; ++i) {
      const Mask above = value > best[i];
      const Vec lower = where(above, best[i], value);
      const Mask lower_index = above ? which[i] : index;
      best[i] = where(above, value, best[i]);
      which[i] = above ? index : which[i];
      value = lower;
      index = lower_index;
    }
  }
  const Vec gap = logit_of(logits, target, classes) - logit_of(logits, label, classes);
  const Vec inverse = 1.f / (best[0] - 0.5f * (best[2] + best[3]) + 1e-12f);
  const Vec curb = gap * inverse * inverse;
  for (int k = 0; k < classes; ++k)
    gradient[k] = where(target == k, inverse, Vec{}) - where(label == k, inverse, Vec{}) -
                  where(which[0] == k, curb, Vec{}) + where((which[2] == k) | (which[3] == k), 0.5f * curb, Vec{});
  return gap * inverse;
}

}  // namespace engine
