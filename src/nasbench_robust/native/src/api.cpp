// The engine as C functions: plain arrays in, plain arrays out; src/nasbench_robust/native/library.py declares them again.

#include <atomic>
#include <ctime>
#include <string>

#include "blocks.h"

using engine::Images;
using engine::kLanes;
using engine::Network;
using engine::Team;
using engine::Vec;

namespace {

// Rounds of x * factor + term on sums that depend on nothing but themselves: as many as hide the latency of a
// multiplication and addition, as few as stay in 16 registers.
constexpr int kChains = 12;

std::atomic<int> threads{1};

Vec multiply_and_add(Vec start, Vec factor, Vec term, int rounds) {
  Vec sums[kChains], total = {};
  for (int chain = 0; chain < kChains; ++chain) sums[chain] = start + float(chain);
  for (int round = 0; round < rounds; ++round)
    for (int chain = 0; chain < kChains; ++chain) sums[chain] = sums[chain] * factor + term;
  for (const Vec& sum : sums) total += sum;
  return total;
}

}  // namespace

extern "C" {

// Whether this processor runs the build of that name; the portable build is asked.
int engine_supports(const char* build) {
  const std::string name = build;
#if defined(__x86_64__) || defined(__i386__)
  if (name == "avx512")
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
  if (name == "avx2") return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
  return name == "portable";
}

Network* engine_new(const int* shape, const int* cell, const float* mean, const float* deviation) {
  engine::Cell operations;
  std::copy(cell, cell + 6, operations.begin());
  return new Network({shape[0], shape[1], shape[2], shape[3], shape[4]}, operations, mean, deviation);
}

// What the plan of a cell computes: by edge the node that it reads, or -1, then the node that is returned; see plan.h.
void engine_plan(const int* cell, int* reads) {
  engine::Cell operations;
  std::copy(cell, cell + 6, operations.begin());
  const engine::Plan plan({1, 1, 2, 1, 4}, operations);
  std::copy(plan.reads.begin(), plan.reads.end(), reads);
  reads[6] = plan.output;
}

void engine_free(Network* network) { delete network; }

long engine_parameters(Network* network) { return long(network->parameters.size()); }
// About how many numbers a kernel keeps for an image: values for the pass back, and the gradients of one cell.
long engine_values(Network* network) {
  const engine::Plan& plan = network->plan;
  std::size_t values = 0, largest = 0;
  for (std::size_t t = 0; t < plan.tensors.size(); ++t) {
    values += plan.is_kept(int(t)) ? plan.tensors[t].length() : 0;
    largest = std::max(largest, plan.tensors[t].length());
  }
  return long(values + 6 * largest);
}
long engine_statistics(Network* network) { return long(network->statistics.size()); }

// Arrays of the network itself, to be read and written: 0 parameters, 1 gradient, 2 momentum, 3 running statistics.
float* engine_array(Network* network, int which) {
  switch (which) {
    case 0: return network->parameters.data();
    case 1: return network->gradient.data();
    case 2: return network->momentum.data();
    default: return network->statistics.data();
  }
}

// How many threads the calls after this one may use; no number depends on it.
void engine_use_threads(int count) { threads = count; }

void engine_fold(Network* network) { network->fold(); }

// Logits, [n][class]; with the gradient of an objective with respect to them also that with respect to the images.
void engine_pass(Network* network, const float* pixels, int count, float* logits, const float* logit_gradient,
                 float* image_gradient) {
  const std::size_t length = network->pixels(), classes = std::size_t(network->classes());
  Team team(threads);
  network->get_ready(team);
  team.each(engine::blocks_of(count), [&](int block, int thread) {
    engine::Passes& passes = network->passes(thread);
    const int first = block * kLanes;
    engine::Buffer image(length), out(classes), slopes(classes), gradient(length);
    engine::load_block(pixels, first, count, length, image.get());
    passes.forward(image.get(), out.get());
    engine::store_block(out.get(), first, count, classes, logits);
    if (!logit_gradient) return;
    engine::load_block(logit_gradient, first, count, classes, slopes.get());
    passes.backward(slopes.get(), gradient.get());
    engine::store_block(gradient.get(), first, count, length, image_gradient);
  });
}

// kernel: [n][n]; see Network::tangent_kernel.
void engine_tangent_kernel(Network* network, const float* pixels, const float* cotangents, int count, double* kernel) {
  network->tangent_kernel(pixels, cotangents, count, kernel);
}

void engine_pgd(Network* network, const float* pixels, const std::int32_t* labels, int count, const float* noise,
                float eps, float step_size, int steps, float* adversarial) {
  Team team(threads);
  engine::pgd(*network, team, {pixels, labels, count, network->pixels()}, noise, eps, step_size, steps, adversarial);
}

// survivors: [5][n], after the clean images and after each part of AutoAttack; of at least 4 classes. `first`: number of
// the first image.
void engine_autoattack(Network* network, const float* pixels, const std::int32_t* labels, int count, float eps,
                       int steps, int queries, int restarts, std::uint64_t seed, int first, std::uint8_t* survivors,
                       float* adversarial) {
  Team team(threads);
  engine::autoattack(*network, team, {pixels, labels, count, network->pixels()},
                     {eps, steps, queries, restarts, seed, first}, survivors, adversarial);
}

// Gradient of the mean cross entropy in train mode; returns the sum of the losses.
double engine_differentiate(Network* network, const float* pixels, const std::int32_t* labels, int count,
                            int* correct) {
  const std::size_t length = network->pixels();
  const int blocks = engine::blocks_of(count);
  engine::Buffer images(length * blocks);
  std::vector<engine::Mask> block_labels(blocks);
  Team team(network->is_worth_sharing() ? threads.load() : 1);
  team.each(blocks, [&](int block, int) {
    engine::load_block(pixels, block * kLanes, count, length, images.get() + block * length);
    block_labels[block] = engine::load_labels(labels, block * kLanes, count);
  });
  *correct = 0;
  return network->differentiate(images.get(), block_labels.data(), count, correct, team);
}

void engine_update(Network* network, float learning_rate, float momentum, float weight_decay) {
  network->update(learning_rate, momentum, weight_decay);
}

// The most that a core can do with the vectors of this build: 10^9 multiplications with addition a second, measured for
// about so many seconds.
double engine_peak(double seconds) {
  constexpr int kRounds = 100000;
  // The compiler does not know these numbers, and has to deliver what comes of them.
  volatile float factor = 0.5f, term = 1.f, sink = 1.f;
  const std::clock_t begin = std::clock();  // of the process: a core may be shared with others
  double operations = 0, passed = 0;
  do {
    sink = engine::sum(multiply_and_add(engine::all(sink), engine::all(factor), engine::all(term), kRounds));
    operations += double(kRounds) * kChains * kLanes;
    passed = double(std::clock() - begin) / CLOCKS_PER_SEC;
  } while (passed < seconds);
  return operations / passed / 1e9;
}

}  // extern "C"
