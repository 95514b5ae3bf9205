// libexpat asks glibc 2.36 for random bytes, which no older one has; the kernel gives the same to
// all. What we distribute is libexpat's archive with this in place of that function, so that it
// runs on Ubuntu 22.04 (glibc 2.35).
#include <sys/random.h>

#include <cstddef>
#include <cstdlib>

// The linker calls this where the archive says arc4random_buf (--wrap), which is why it has this
// name.
// NOLINTNEXTLINE(bugprone-reserved-identifier)
extern "C" __attribute__((visibility("hidden"))) void __wrap_arc4random_buf(void* bytes,
                                                                            std::size_t count) {
  auto* next = static_cast<unsigned char*>(bytes);
  while (count > 0) {
    const ssize_t given = getrandom(next, count, 0);
    if (given < 0) std::abort();  // as arc4random_buf does: it has no way to fail
    next += given;
    count -= static_cast<std::size_t>(given);
  }
}
