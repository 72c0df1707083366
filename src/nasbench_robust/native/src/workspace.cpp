#include "workspace.h"

namespace engine {

Vec* Store::take(std::size_t length) {
  std::vector<Vec*>& free = free_[length];
  if (free.empty()) {
    buffers_.emplace_back(length);
    return buffers_.back().get();
  }
  Vec* found = free.back();  // the one that was given back last is the likeliest to be in the cache
  free.pop_back();
  return found;
}

Workspace::Workspace(const Plan& plan, int n, int passing)
    : blocks(n), values(plan.tensors.size()), gradients(plan.tensors.size()) {
  for (std::size_t t = 0; t < plan.tensors.size(); ++t) {
    const Tensor& tensor = plan.tensors[t];
    const int present = plan.is_kept(int(t)) ? n : passing;
    lengths.push_back(tensor.length());
    strides.push_back(present == n ? tensor.length() : 0);
    rooms_.push_back(tensor.length() * present);
  }
  place_zeros(plan);
  place_values(plan);
  place_gradients(plan);
}

// In fresh memory, and never given back.
void Workspace::place_zeros(const Plan& plan) {
  std::vector<bool> written(plan.tensors.size(), false);
  for (const Step& s : plan.steps) written[s.target] = true;
  for (const Step& s : plan.steps)
    if (s.source != 0 && !written[s.source] && !values[s.source]) values[s.source] = store_.take(rooms_[s.source]);
  if (!written[plan.last] && !values[plan.last]) values[plan.last] = store_.take(rooms_[plan.last]);
  gradients[0] = store_.take(lengths[0] * blocks);
}

// Those that are kept first: in memory that no value of a later block passes through.
void Workspace::place_values(const Plan& plan) {
  std::vector<int> last_reader(plan.tensors.size(), -1);
  std::vector<bool> passes(plan.tensors.size(), false);
  values[0] = store_.take(rooms_[0]);
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    const Step& s = plan.steps[i];
    last_reader[s.source] = int(i);
    if (s.first && plan.is_kept(s.target)) values[s.target] = store_.take(rooms_[s.target]);
    passes[s.target] = !plan.is_kept(s.target);
  }
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    const Step& s = plan.steps[i];
    if (!values[s.target]) values[s.target] = store_.take(rooms_[s.target]);
    if (passes[s.source] && last_reader[s.source] == int(i)) store_.give(values[s.source], rooms_[s.source]);
  }
}

void Workspace::place_gradients(const Plan& plan) {
  gradients[plan.last] = store_.take(lengths[plan.last] * blocks);
  for (auto s = plan.steps.rbegin(); s != plan.steps.rend(); ++s) {
    if (!s->reached) continue;
    if (s->wants_gradient && !gradients[s->source]) gradients[s->source] = store_.take(lengths[s->source] * blocks);
    if (s->first) store_.give(gradients[s->target], lengths[s->target] * blocks);
  }
}

}  // namespace engine
