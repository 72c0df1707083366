// Where the tensors of a pass and their gradients lie in memory.
#pragma once

#include <map>
#include <vector>

#include "plan.h"
#include "vec.h"

namespace engine {

// Memory for what lives at different times: what is given back is taken again for something as long.
class Store {
 public:
  Vec* take(std::size_t length);
  void give(Vec* memory, std::size_t length) { free_[length].push_back(memory); }

 private:
  std::vector<Buffer> buffers_;
  std::map<std::size_t, std::vector<Vec*>> free_;
};

// Values of all tensors, and their gradients, for some blocks of images. A value that the pass back does not need lasts
// until it was read for the last time, a gradient until the pass back has handed it on. A tensor that no step writes is
// all zeros, and so is the gradient of images that the output does not depend on.
struct Workspace {
  // `passing`: of how many blocks a value exists that the pass back does not need. All of them where the pass forwards
  // takes step by step, 1 where it takes block by block.
  Workspace(const Plan& plan, int blocks, int passing);
  Vec* value(int tensor, int block = 0) const { return values[tensor] + block * strides[tensor]; }
  Vec* gradient(int tensor, int block = 0) const { return gradients[tensor] + block * lengths[tensor]; }

  int blocks;
  std::vector<std::size_t> lengths, strides;  // of a block's gradient; from one block's value to the next one's
  std::vector<Vec*> values, gradients;

 private:
  void place_zeros(const Plan& plan);
  void place_values(const Plan& plan);
  void place_gradients(const Plan& plan);
  std::vector<std::size_t> rooms_;  // what the values of a tensor take
  Store store_;
};

}  // namespace engine
