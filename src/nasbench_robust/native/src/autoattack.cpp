// AutoAttack standard: the four parts in turn, each on the images that withstood those before it.

#include <numeric>

#include "blocks.h"
#include "objectives.h"

namespace engine {

void autoattack(Network& network, Team& team, const Images& images, const Budget& budget, std::uint8_t* survivors,
                float* adversarial) {
  const int classes = network.classes();
  const std::size_t count = std::size_t(images.count);
  std::vector<int> ranked(count * (classes - 1));
  std::vector<std::uint8_t> survives(count);
  network.get_ready(team);
  team.each(blocks_of(images.count), [&](int block, int thread) {
    const int first = block * kLanes;
    std::vector<int> order(classes);
    Buffer image(images.length), logits(classes);
    load_block(images.pixels, first, images.count, images.length, image.get());
    network.passes(thread).forward(image.get(), logits.get());
    for (int lane = 0; lane < kLanes && first + lane < images.count; ++lane) {
      const int label = images.labels[first + lane];
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return logits[a][lane] > logits[b][lane]; });
      survives[first + lane] = order[0] == label;
      std::remove_copy(order.begin(), order.end(), &ranked[std::size_t(first + lane) * (classes - 1)], label);
    }
  });
  std::copy(survives.begin(), survives.end(), survivors);
  std::copy(images.pixels, images.pixels + count * images.length, adversarial);

  const Target target{network, team, images, ranked, survives.data(), adversarial};
  for (auto part : {apgd_ce, apgd_t, fab_t, square}) {
    std::vector<int> left;
    for (int i = 0; i < images.count; ++i)
      if (survives[i]) left.push_back(i);
    part(target, budget, left);
    survivors += count;
    std::copy(survives.begin(), survives.end(), survivors);
  }
}

}  // namespace engine
