#include "blocks.h"
#include "objectives.h"

namespace engine {

void pgd(Network& network, const Images& images, const float* noise, float eps, float step_size, int steps,
         float* adversarial) {
  const std::size_t n = images.length;
  const int classes = network.classes();
  Buffer image(n), point(n), gradient(n), logits(classes), slopes(classes);
  for (int first = 0; first < images.count; first += kLanes) {
    load_block(images.pixels, first, images.count, n, image.get());
    const Mask label = load_labels(images.labels, first, images.count);
    if (noise) load_block(noise, first, images.count, n, point.get());
    auto project = [&](std::size_t i, Vec pixel) {
      return clamp(pixel, larger(image[i] - eps, Vec{}), smaller(image[i] + eps, all(1.f)));
    };
    for (std::size_t i = 0; i < n; ++i) point[i] = noise ? project(i, image[i] + point[i]) : image[i];
    for (int step = 0; step < steps; ++step) {
      network.forward(point.get(), logits.get());
      cross_entropy_gradient(logits.get(), label, classes, slopes.get());
      network.backward(slopes.get(), gradient.get());
      for (std::size_t i = 0; i < n; ++i) point[i] = project(i, point[i] + step_size * sign(gradient[i]));
    }
    store_block(point.get(), first, images.count, n, adversarial);
  }
}

}  // namespace engine
