#include "services/up/line_reader.h"

#include <array>
#include <cerrno>
#include <utility>

#include <unistd.h>

namespace catena::up {

bool LineReader::Read(int fd, const OnLine& on_line) {
  std::array<char, 4096> buffer;
  for (;;) {
    const ssize_t got = read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return true;
    if (got <= 0) break;
    rest_.append(buffer.data(), static_cast<size_t>(got));
    size_t begin = 0;
    for (size_t end = 0; (end = rest_.find('\n', begin)) != std::string::npos; begin = end + 1) {
      on_line(std::string_view(rest_).substr(begin, end - begin));
    }
    rest_.erase(0, begin);
    if (rest_.size() >= kMaxBytes) on_line(std::exchange(rest_, {}));
  }
  if (!rest_.empty()) on_line(std::exchange(rest_, {}));
  return false;
}

}  // namespace catena::up
