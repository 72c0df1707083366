// Drives the native engine under the sanitizers, through its C functions: tests/sanitize.sh compiles and runs it.
//
// All arrays are exactly as long as they have to be, so that a step beyond one of them is seen.

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "../src/nasbench_robust/native/src/attacks.h"

extern "C" {
struct Handle;
int engine_supports(const char* build);
Handle* engine_new(const int* shape, const int* cell, const float* mean, const float* deviation);
void engine_free(Handle* network);
long engine_parameters(Handle* network);
long engine_statistics(Handle* network);
float* engine_array(Handle* network, int which);
void engine_fold(Handle* network);
void engine_pass(Handle* network, const float* pixels, int count, float* logits, const float* logit_gradient,
                 float* image_gradient);
long engine_values(Handle* network);
void engine_tangent_kernel(Handle* network, const float* pixels, const float* cotangents, int count, double* kernel);
void engine_pgd(Handle* network, const float* pixels, const std::int32_t* labels, int count, const float* noise,
                float eps, float step_size, int steps, float* adversarial);
void engine_autoattack(Handle* network, const float* pixels, const std::int32_t* labels, int count, float eps,
                       int steps, int queries, int restarts, std::uint64_t seed, int first, std::uint8_t* survivors,
                       float* adversarial);
double engine_differentiate(Handle* network, const float* pixels, const std::int32_t* labels, int count, int* correct);
void engine_update(Handle* network, float learning_rate, float momentum, float weight_decay);
}

namespace {

using Floats = std::vector<float>;

constexpr float kEps = 0.1f;

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "%s\n", what);
  std::exit(1);
}

class Draws {
 public:
  explicit Draws(std::uint64_t key) : key_(key) {}
  float uniform(float low, float high) { return low + (high - low) * engine::unit(engine::draw(key_, next_++)); }
  int below(int end) { return int(engine::draw(key_, next_++) % end); }
  Floats floats(std::size_t count, float low, float high) {
    Floats found(count);
    for (float& value : found) value = uniform(low, high);
    return found;
  }

 private:
  std::uint64_t key_, next_ = 0;
};

struct Shape {
  int channels, cells_per_stage, classes, input_channels, size;
};

void initialise(Handle* network, Draws& draws) {
  for (long i = 0; i < engine_parameters(network); ++i) engine_array(network, 0)[i] = draws.uniform(-0.5f, 0.7f);
  for (long i = 0; i < engine_statistics(network); ++i) engine_array(network, 3)[i] = draws.uniform(0.1f, 1.f);
}

void check_box(const Floats& pixels, const Floats& adversarial) {
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    require(adversarial[i] >= 0 && adversarial[i] <= 1, "a pixel outside [0, 1]");
    require(std::fabs(adversarial[i] - pixels[i]) <= kEps + 1e-6f, "a pixel outside the ball");
  }
}

// Every function of the engine, on `count` images.
void exercise(Handle* network, const Shape& shape, int count, Draws& draws, int restarts) {
  const std::size_t length = std::size_t(shape.input_channels) * shape.size * shape.size, all = length * count;
  const Floats pixels = draws.floats(all, 0, 1), noise = draws.floats(all, -kEps, kEps);
  std::vector<std::int32_t> labels(count);
  for (std::int32_t& label : labels) label = draws.below(shape.classes);

  Floats adversarial(all), logits(std::size_t(count) * shape.classes), gradient(all);
  const Floats slopes = draws.floats(logits.size(), -1, 1);
  engine_fold(network);
  engine_pgd(network, pixels.data(), labels.data(), count, noise.data(), kEps, 0.05f, 3, adversarial.data());
  check_box(pixels, adversarial);
  int correct = -1;
  const double loss = engine_differentiate(network, adversarial.data(), labels.data(), count, &correct);
  require(std::isfinite(loss) && correct >= 0 && correct <= count, "no loss");
  engine_update(network, 0.01f, 0.9f, 5e-4f);
  engine_fold(network);
  engine_pass(network, pixels.data(), count, logits.data(), nullptr, nullptr);
  engine_pass(network, pixels.data(), count, logits.data(), slopes.data(), gradient.data());
  for (float value : logits) require(std::isfinite(value), "a logit that is not finite");
  for (float value : gradient) require(std::isfinite(value), "a gradient that is not finite");
  engine_pgd(network, pixels.data(), labels.data(), count, nullptr, kEps, kEps, 1, adversarial.data());
  check_box(pixels, adversarial);
  std::vector<double> kernel(std::size_t(count) * count);
  engine_tangent_kernel(network, pixels.data(), slopes.data(), count, kernel.data());
  for (int i = 0; i < count; ++i)
    for (int j = 0; j < count; ++j)
      require(kernel[i * count + j] == kernel[j * count + i] && kernel[i * count + i] > 0, "no kernel");
  require(engine_values(network) > 0, "no values");

  // Attack what the network says, so that something is there to attack.
  for (int i = 0; i < count; ++i)
    for (int k = 0; k < shape.classes; ++k)
      if (logits[i * shape.classes + k] > logits[i * shape.classes + labels[i]]) labels[i] = k;
  std::vector<std::uint8_t> survivors(std::size_t(5) * count);
  engine_autoattack(network, pixels.data(), labels.data(), count, kEps, 3, 25, restarts, 7, 0, survivors.data(),
                    adversarial.data());
  check_box(pixels, adversarial);
  for (int part = 1; part < 5; ++part)
    for (int i = 0; i < count; ++i)
      require(survivors[part * count + i] <= survivors[(part - 1) * count + i], "a survivor that comes back");
}

void check_functions() {
  double worst = 0;
  for (float a = -80; a <= 0; a += 0.0123f)
    worst = std::max(worst, std::fabs(engine::exponential(engine::all(a))[0] / std::exp(double(a)) - 1));
  require(worst < 5e-7, "exponential is not exact enough");
  require(engine::exponential(engine::all(-1e30f))[0] < 1e-36f, "exponential of a large number");
  worst = 0;
  for (float a = 1; a < 1000; a *= 1.0007f)
    worst = std::max(worst, std::fabs(engine::logarithm(engine::all(a))[0] - std::log(double(a))) / (1 + std::log(a)));
  require(worst < 5e-7, "logarithm is not exact enough");
}

}  // namespace

int main() {
  check_functions();
  require(engine_supports("portable") && !engine_supports("none"), "the builds that this processor supports");
  const Shape shapes[] = {{4, 1, 6, 1, 8}, {3, 2, 5, 3, 12}, {5, 1, 4, 3, 4}, {1, 1, 5, 2, 8}, {8, 1, 4, 3, 16}};
  const int cells[][6] = {{3, 3, 3, 3, 3, 3}, {1, 4, 2, 3, 1, 4}, {0, 0, 0, 0, 0, 0}, {0, 0, 3, 4, 1, 2},
                          {4, 4, 4, 4, 4, 4}, {1, 1, 1, 1, 1, 1}, {3, 0, 0, 1, 0, 0}, {0, 0, 0, 0, 0, 2}};
  const int counts[] = {2, 9, 17, 5, 3};
  Draws draws(1);
  int number = 0;
  for (const Shape& shape : shapes) {
    for (const auto& cell : cells) {
      if (shape.size > 8 && cell[1] < 4 && cell[2] != 3) continue;  // large images cost more than they show
      const Floats mean(shape.input_channels, 0.3f), deviation(shape.input_channels, 0.4f);
      const int described[] = {shape.channels, shape.cells_per_stage, shape.classes, shape.input_channels, shape.size};
      Handle* network = engine_new(described, cell, mean.data(), deviation.data());
      initialise(network, draws);
      exercise(network, shape, counts[number % 5], draws, 1);
      if (number++ % 10 == 0) exercise(network, shape, 33, draws, 2);  // another number of blocks
      engine_free(network);
    }
  }
  std::puts("no report");
}
