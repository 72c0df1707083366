// The network around one cell: parameters, the folded form that is attacked and measured, and the training step.
#pragma once

#include <memory>
#include <vector>

#include "parallel.h"
#include "workspace.h"

namespace engine {

constexpr float kBnEps = 1e-5f;  // of every batch normalisation, as torch has it

// Batch normalisation of one channel by the batch: scale * x + shift, where scale holds the inverse deviation, too.
struct Affine {
  float mean, inverse, scale, shift;
};

// What the training step keeps between its passes forwards and backwards.
struct Batch {
  Batch(const Plan& plan, int blocks, int threads);

  Workspace work;
  std::vector<Buffer> convolved;                  // by step: before batch normalisation
  std::vector<std::vector<float>> mean, inverse;  // by step: of the batch, inverse of the standard deviation
  Buffer slopes;                                  // gradient before batch normalisation, of one convolution
  std::vector<float> turned, prepared;
  std::vector<Buffer> scratch;          // by thread
  Buffer lanes;                         // by block: 1 where there is an image, 0 where not
  std::vector<Affine> head;             // by channel of the last tensor
  Buffer pooled, logits, logit_slopes;  // of the head, by block
  int count = 0;
};

class Network;

// Passes of one block of images through a folded network, one after the other.
class Passes {
 public:
  explicit Passes(const Network& network);
  // Logits, [class], of one block of images, [channel][row][column] with pixels in [0, 1].
  void forward(const Vec* images, Vec* logits);
  // The gradient with respect to the images of the last call of forward, given that with respect to its logits.
  void backward(const Vec* logit_gradient, Vec* image_gradient);

 private:
  const Network& network_;
  Workspace work_;
  Buffer scratch_;
};

class Network {
 public:
  Network(const Shape& shape, const Cell& cell, const float* mean, const float* deviation);

  const Plan plan;
  std::vector<float> parameters, gradient, momentum, statistics;
  std::size_t pixels() const { return plan.tensors[0].length(); }
  int classes() const { return plan.shape.classes; }

  // Batch normalisation in eval mode is affine: fold it into the convolutions, once after every change of a parameter.
  void fold();
  // The neural tangent kernel of the folded network, [count][count]: scalar products of the gradients, with respect to
  // all parameters, of sum over classes of cotangents[image][class] * logits[image][class]. See kernel.cpp.
  void tangent_kernel(const float* pixels, const float* cotangents, int count, double* kernel);

  // Forward and backward in train mode on `count` images in blocks; fills `gradient` with that of the mean cross
  // entropy and updates the running statistics. Returns the sum of the losses; `correct` counts right predictions.
  double differentiate(const Vec* images, const Mask* labels, int count, int* correct, Team& team);
  // One step of SGD with momentum and weight decay, as torch.optim.SGD takes it.
  void update(float learning_rate, float momentum_factor, float weight_decay);

  // Whether the parts of a step of training are long enough to be shared among threads.
  bool is_worth_sharing() const { return plan.tensors[1].length() >= 4096; }

  // One for each thread of a team, kept from call to call.
  Passes& passes(int thread) { return *passes_[thread]; }
  void get_ready(const Team& team);

 private:
  friend class Passes;
  struct Folded {
    std::vector<float> weights, turned, bias;  // weights as layers.h prepares them
  };
  void normalise(const Vec* images, Vec* out) const;
  void pass_forward(const Vec* images, Vec* logits, Workspace& w, int block, Vec* scratch) const;
  void pass_backward(const Vec* logit_gradient, Vec* image_gradient, Workspace& w, Vec* scratch) const;
  void head_backward_folded(const Vec* logit_gradient, Workspace& w, int block) const;
  void step_backward_folded(const Step& s, Workspace& w, int block, Vec* scratch) const;
  std::size_t head_tangents(const Vec* cotangent, const Workspace& w, int block, Vec* rows, std::size_t stride) const;
  void step_forward(const Step& s, Workspace& w, int block, Vec* scratch) const;
  void step_backward(const Step& s, Workspace& w, int block, Vec* scratch) const;
  void normalise_batch(const Step& s, std::size_t position, Team& team);
  void normalise_batch_back(const Step& s, std::size_t position, Team& team);
  void begin_batch(int count, int threads);
  void train_forward(const Vec* images, Team& team);
  void train_backward(Team& team);
  void convolve_all(const Step& s, std::size_t position, Team& team);
  void differentiate_convolution(const Step& s, std::size_t position, Team& team);
  void head_forward(Team& team);
  double head_loss(const Mask* labels, int* correct);
  void head_backward(Team& team);

  std::vector<float> mean_, inverse_deviation_;
  std::vector<Folded> folded_;
  std::vector<float> head_scale_, head_shift_;
  std::vector<std::unique_ptr<Passes>> passes_;
  std::unique_ptr<Batch> batch_;
};

}  // namespace engine
