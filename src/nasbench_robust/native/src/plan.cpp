#include "plan.h"

namespace engine {

constexpr int kEdges[6][2] = {{0, 1}, {0, 2}, {1, 2}, {0, 3}, {1, 3}, {2, 3}};

Plan::Plan(const Shape& s, const Cell& cell) : shape(s) {
  const int image = tensor(s.input_channels, s.size);
  written_[image] = true;
  int here = tensor(s.channels, s.size);
  step(kConvolve, image, here, convolve_parameters(s.input_channels, s.channels, 3, 1, s.size, true));
  for (int stage = 0; stage < 3; ++stage) {
    if (stage > 0) here = add_reduction(here);
    for (int i = 0; i < s.cells_per_stage; ++i) here = add_cell(cell, here);
  }
  last = here;
  last_channels = tensors[here].channels;
  head_scale = parameters;
  parameters += 2 * last_channels;
  head_statistics = statistics;
  statistics += 2 * last_channels;
  linear = parameters;
  parameters += std::size_t(last_channels) * s.classes + s.classes;
  order_gradients();
}

int Plan::convolve_parameters(int ins, int outs, int kernel, int stride, int size, bool normalised) {
  Convolution c{ins, outs, kernel, stride, size, normalised, parameters, statistics};
  parameters += c.weight_count() + (normalised ? 2 * outs : 0);
  statistics += normalised ? 2 * outs : 0;
  convolutions.push_back(c);
  return int(convolutions.size()) - 1;
}

int Plan::tensor(int channels, int size) {
  tensors.push_back({channels, size});
  relu_of_.push_back(-1);
  written_.push_back(false);
  return int(tensors.size()) - 1;
}

int Plan::step(Kind kind, int source, int target, int convolution) {
  steps.push_back({kind, source, target, convolution, !written_[target], false, false, written_[source]});
  written_[target] = true;
  return target;
}

int Plan::rectified(int t) {
  if (!written_[t]) return t;  // zeros
  if (relu_of_[t] < 0) relu_of_[t] = step(kRelu, t, tensor(tensors[t].channels, tensors[t].size));
  return relu_of_[t];
}

int Plan::add_cell(const Cell& cell, int input) {
  const int channels = tensors[input].channels, size = tensors[input].size;
  int convolution[6];  // all are built, as in the network, also those on edges that cannot matter
  for (int e = 0; e < 6; ++e) {
    const int kernel = cell[e] == kConv3x3 ? 3 : 1;
    const bool has = cell[e] == kConv1x1 || cell[e] == kConv3x3;
    convolution[e] = has ? convolve_parameters(channels, channels, kernel, 1, size, true) : -1;
  }
  // An edge matters if a path leads from its target to node 3. One that leaves a node without inputs matters too: batch
  // normalisation turns zeros into its shift.
  bool matters[4] = {false, false, false, true};
  for (int e = 5; e >= 0; --e)
    if (cell[e] != kNone && matters[kEdges[e][1]]) matters[kEdges[e][0]] = true;

  int node[4] = {input, -1, -1, -1}, same[4] = {0, 1, 2, 3};
  reads.fill(-1);
  for (int target = 1; target < 4; ++target) {
    std::vector<int> incoming;
    for (int e = 0; e < 6; ++e) {
      if (kEdges[e][1] != target || cell[e] == kNone || !matters[target]) continue;
      const bool zeros = !written_[node[kEdges[e][0]]];
      if (!zeros || convolution[e] >= 0) incoming.push_back(e);
    }
    if (incoming.size() == 1 && cell[incoming[0]] == kSkip) {
      node[target] = node[kEdges[incoming[0]][0]];
      same[target] = same[kEdges[incoming[0]][0]];
      continue;
    }
    node[target] = tensor(channels, size);
    for (int e : incoming) {
      const int source = node[kEdges[e][0]];
      reads[e] = same[kEdges[e][0]];
      if (cell[e] == kSkip) step(kAdd, source, node[target]);
      else if (cell[e] == kPool3x3) step(kPool, source, node[target]);
      else step(kConvolve, rectified(source), node[target], convolution[e]);
    }
  }
  output = same[3];
  return node[3];
}

int Plan::add_reduction(int input) {
  const int channels = tensors[input].channels, size = tensors[input].size, half = size / 2;
  const int first = convolve_parameters(channels, 2 * channels, 3, 2, size, true);
  const int second = convolve_parameters(2 * channels, 2 * channels, 3, 1, half, true);
  const int shortcut = convolve_parameters(channels, 2 * channels, 1, 1, half, false);
  const int middle = step(kConvolve, rectified(input), tensor(2 * channels, half), first);
  const int out = tensor(2 * channels, half);
  if (written_[input])
    step(kConvolve, step(kHalve, input, tensor(channels, half)), out, shortcut);
  return step(kConvolve, rectified(middle), out, second);
}

bool Plan::is_kept(int tensor) const {
  for (const Step& s : steps)
    if ((s.kind == kConvolve && s.source == tensor) || (s.kind == kRelu && s.target == tensor)) return true;
  return tensor == last;
}

// Backwards, the last step that reads a tensor is the first one to write its gradient.
void Plan::order_gradients() {
  std::vector<bool> seen(tensors.size(), false);
  seen[last] = true;  // the head writes it
  for (auto s = steps.rbegin(); s != steps.rend(); ++s) {
    s->reached = seen[s->target];
    s->wants_gradient &= s->reached;
    if (!s->wants_gradient) continue;
    s->first_gradient = !seen[s->source];
    seen[s->source] = true;
  }
}

}  // namespace engine
