#include "sharding/collectives/collective.h"

#include "base/error.h"

namespace muster::sharding {

void Collective::exchange(const Circle& circle, std::span<const std::byte> send,
                          std::span<std::byte> receive) {
  if (circle.count != size())
    throw CollectiveError(name() + ": only all ranks can exchange at once");
  all_to_all(send, receive);  // [C]
}

void Collective::read_near(std::span<const std::byte> send,
                           const std::function<void(Chunks)>& use) {
  const std::byte* const mine = send.data();
  use({&mine, 1});
}

void Collective::all_to_all(std::span<const std::byte> send, std::span<std::byte> receive,
                            const std::function<void(Chunks)>& use) {
  all_to_all(send, receive);  // [C]
  const std::size_t chunk = receive.size() / size();
  std::vector<const std::byte*> chunks;
  for (int r = 0; r < size(); ++r) chunks.push_back(receive.data() + r * chunk);
  use(chunks);
}

}  // namespace muster::sharding
