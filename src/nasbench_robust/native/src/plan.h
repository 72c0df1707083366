// What a network computes, as a list of steps on tensors, and where its parameters lie in one flat array.
//
// Everything that does not depend on numbers is decided here, once per network: which edges of the cell matter, which
// node is another one's alias, who writes a tensor first. Forward passes walk the steps, backward passes walk them
// back.
#pragma once

#include <array>
#include <cstddef>
#include <vector>

namespace engine {

struct Shape {
  int channels, cells_per_stage, classes, input_channels, size;
};

enum Operation { kNone, kSkip, kConv1x1, kConv3x3, kPool3x3 };  // numbered as in encodings.py
using Cell = std::array<int, 6>;

// A convolution, followed by batch normalisation unless it is a shortcut. Offsets count floats: `weights` those of
// [out][in][k][k], then BN's scale and shift; `statistics` the running mean, then the running variance.
struct Convolution {
  int ins, outs, kernel, stride, size;  // size: side of the input
  bool normalised;
  std::size_t weights, statistics;
  std::size_t weight_count() const { return std::size_t(ins) * outs * kernel * kernel; }
  std::size_t scale() const { return weights + weight_count(); }
  std::size_t shift() const { return scale() + outs; }
  int out_size() const { return size / stride; }
};

struct Tensor {
  int channels, size;
  std::size_t area() const { return std::size_t(size) * size; }
  std::size_t length() const { return channels * area(); }
};

enum Kind { kConvolve, kRelu, kAdd, kPool, kHalve };

struct Step {
  Kind kind;
  int source, target;
  int convolution;      // of kConvolve, else -1
  bool first;           // the first to write the target: it need not add
  bool reached;         // whether the output depends on it
  bool first_gradient;  // the first, backwards, to write the gradient of the source
  bool wants_gradient;  // whether it is reached and the source is more than zeros
};

struct Plan {
  Plan(const Shape& shape, const Cell& cell);

  // Whether a pass back needs the tensor's value: what a convolution reads, what ReLU left, what the head reads.
  bool is_kept(int tensor) const;

  Shape shape;
  std::vector<Convolution> convolutions;
  std::vector<Tensor> tensors;  // 0: the normalised image
  std::vector<Step> steps;
  int last;  // the tensor before the head
  // Of the last cell: the node whose tensor each edge reads, or -1 where there is nothing to compute, and the node that
  // the cell returns; a node that a skip alone enters is its source. A test compares them with cells/plan.py.
  std::array<int, 6> reads;
  int output;
  // The head: BN of `last_channels` (scale, shift; running mean, variance), then a linear layer (weights, bias).
  int last_channels;
  std::size_t head_scale, head_statistics, linear;
  std::size_t parameters = 0, statistics = 0;

 private:
  int convolve_parameters(int ins, int outs, int kernel, int stride, int size, bool normalised);
  int tensor(int channels, int size);
  int step(Kind kind, int source, int target, int convolution = -1);
  int rectified(int tensor);
  int add_cell(const Cell& cell, int input);
  int add_reduction(int input);
  void order_gradients();
  std::vector<int> relu_of_;   // the tensor that holds max(0, this one), or -1
  std::vector<bool> written_;  // whether a step writes the tensor; one that no step writes is all zeros
};

}  // namespace engine
