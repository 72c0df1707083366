#include "blocks.h"
#include "objectives.h"

namespace engine {

void pgd(Network& network, Team& team, const Images& images, const float* noise, float eps, float step_size, int steps,
         float* adversarial) {
  const std::size_t n = images.length;
  const int classes = network.classes();
  network.get_ready(team);
  team.each(blocks_of(images.count), [&](int block, int thread) {
    Passes& passes = network.passes(thread);
    const int first = block * kLanes;
    Buffer image(n), point(n), gradient(n), logits(classes), slopes(classes);
    load_block(images.pixels, first, images.count, n, image.get());
    const Mask label = load_labels(images.labels, first, images.count);
    if (noise) load_block(noise, first, images.count, n, point.get());
    auto project = [&](std::size_t i, Vec pixel) {
      return clamp(pixel, larger(image[i] - eps, Vec{}), smaller(image[i] + eps, all(1.f)));
    };
    for (std::size_t i = 0; i < n; ++i) point[i] = noise ? project(i, image[i] + point[i]) : image[i];
    for (int step = 0; step < steps; ++step) {
      passes.forward(point.get(), logits.get());
      cross_entropy_gradient(logits.get(), label, classes, slopes.get());
      passes.backward(slopes.get(), gradient.get());
      for (std::size_t i = 0; i < n; ++i) point[i] = project(i, point[i] + step_size * sign(gradient[i]));
    }
    store_block(point.get(), first, images.count, n, adversarial);
  });
}

}  // namespace engine
