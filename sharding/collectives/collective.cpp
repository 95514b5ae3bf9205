#include "sharding/collectives/collective.h"

namespace muster::sharding {

void Collective::all_to_all(std::span<const std::byte> send, std::span<std::byte> receive,
                            const std::function<void(Chunks)>& use) {
  all_to_all(send, receive);  // [C]
  const std::size_t chunk = receive.size() / size();
  std::vector<const std::byte*> chunks;
  for (int r = 0; r < size(); ++r) chunks.push_back(receive.data() + r * chunk);
  use(chunks);
}

}  // namespace muster::sharding
