// Clients of `muster serve`, for ./run bench serve. The first word says what they do:
//   load PORT TOKEN FOLDER COUNT CLIENTS   ask about the folder's pictures, in turn
//   mixed PORT TOKEN FOLDER COUNT          requests of every kind, most of them broken
// The last line on stdout is one JSON object.
#include <arpa/inet.h>
#include <fmt/core.h>
#include <httplib.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/files.h"
#include "base/process/fd.h"
#include "base/rng.h"

using namespace muster;
using nlohmann::json;

namespace {

struct Server {
  int port = 0;
  std::string token;

  httplib::Client client() const {
    httplib::Client made("127.0.0.1", port);
    made.set_bearer_token_auth(token.c_str());
    made.set_keep_alive(true);
    made.set_tcp_nodelay(true);
    made.set_read_timeout(60);
    return made;
  }
};

std::vector<std::string> pictures_of(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) files.push_back(entry.path());
  std::ranges::sort(files);
  std::vector<std::string> pictures;
  for (const fs::path& file : files) pictures.push_back(read_text(file));
  return pictures;
}

json load(const Server& server, const std::vector<std::string>& pictures, int count, int clients) {
  std::atomic<int> next = 0, failed = 0;
  std::mutex mutex;
  std::vector<double> seconds;
  const double begin = seconds_now();
  std::vector<std::thread> threads;
  for (int k = 0; k < clients; ++k)
    threads.emplace_back([&] {
      httplib::Client client = server.client();
      std::vector<double> own;
      for (int i = next++; i < count; i = next++) {
        const double asked = seconds_now();
        const auto& picture = pictures[static_cast<std::size_t>(i) % pictures.size()];
        const auto answer = client.Post("/v1/detect", picture, "image/jpeg");
        if (!answer || answer->status != 200) {
          ++failed;
          fmt::print(stderr, "picture {}: {}\n", i,
                     answer ? std::to_string(answer->status) : httplib::to_string(answer.error()));
        }
        own.push_back(seconds_now() - asked);
      }
      const std::lock_guard lock(mutex);
      seconds.insert(seconds.end(), own.begin(), own.end());
    });
  for (std::thread& thread : threads) thread.join();
  const double wall = seconds_now() - begin;
  std::ranges::sort(seconds);
  const auto at = [&](double share) {
    return seconds[static_cast<std::size_t>(share * static_cast<double>(seconds.size() - 1))];
  };
  return {{"pictures_per_s", count / wall},
          {"failed", failed.load()},
          {"median_s", at(0.5)},
          {"p99_s", at(0.99)},
          {"clients", clients}};
}

// Bytes on a connection of their own, which is left at once or when an answer begins.
void send_raw(const Server& server, const std::string& bytes, bool wait) {
  const Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(server.port));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) return;
  ::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  char first = 0;
  if (wait) ::recv(fd.get(), &first, 1, 0);
}

class Mixed {
 public:
  Mixed(const Server& server, const std::vector<std::string>& pictures)
      : server_(server), pictures_(pictures), client_(server.client()), random_(7) {}

  json run(int count) {
    std::vector<std::int64_t> memory;
    const int every = std::max(1, count / 20);
    for (int i = 0; i < count; ++i) {
      one(i % 20);
      if ((i + 1) % every == 0) memory.push_back(resident());
    }
    json statuses = json::object();
    for (const auto& [status, times] : statuses_) statuses[std::to_string(status)] = times;
    return {{"requests", count}, {"statuses", statuses}, {"resident_bytes", memory}};
  }

 private:
  void count(const httplib::Result& answer) { ++statuses_[answer ? answer->status : 0]; }
  void post(const std::string& path, const std::string& body) {
    count(client_.Post(path, body, "image/jpeg"));
  }
  std::string noise(std::size_t bytes) {
    std::string text(bytes, '\0');
    for (char& c : text) c = static_cast<char>(random_.below(256));
    return text;
  }
  const std::string& picture() {
    return pictures_[static_cast<std::size_t>(
        random_.below(static_cast<std::int64_t>(pictures_.size())))];
  }
  std::string cut() {
    const std::string& whole = picture();
    return whole.substr(
        0, static_cast<std::size_t>(random_.below(static_cast<std::int64_t>(whole.size()))));
  }

  void form(const std::string& body) {
    count(client_.Post("/v1/detect", body, "multipart/form-data; boundary=b"));
  }

  void one(int kind) {
    const std::string head = "POST /v1/detect HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " +
                             server_.token + "\r\nContent-Length: 100000\r\n\r\n";
    switch (kind) {
      case 0: return post("/v1/detect", cut());
      case 1: return post("/v1/detect", noise(5000));
      case 2: return post("/v1/detect", "");
      case 3: return post("/v1/detect?threshold=x", picture());
      case 4: return post("/v1/detect?prompt=" + std::string(5000, 'p'), picture());
      case 5: return form("--b\r\nContent-Disposition: form-data; name=\"image\"\r\n\r\n" + cut());
      case 6: return form(noise(3000));
      case 7: return post("/v1/nothing", noise(100));
      case 8: return count(client_.Get("/v1/runs/..%2f..%2fetc/logs/passwd"));
      case 9: return count(client_.Delete("/v1/detect"));
      case 10: return send_raw(server_, noise(200) + "\r\n\r\n", true);
      case 11: return send_raw(server_, head + "half", false);
      case 12: return send_raw(server_, "GET /v1/runs HTTP/1.1\r\nX: ", false);
      case 13: return count(client_.Get("/v1/runs"));
      case 14: return count(client_.Get("/app.js"));
      case 15: return count(client_.Get("/v1/runs/no-such-run/metrics"));
      case 16:
        return post("/v1/detect?prompt=red%20" + std::to_string(random_.below(1000)), picture());
      default: return post("/v1/detect", picture());
    }
  }

  std::int64_t resident() {
    const auto answer = client_.Get("/metrics");
    constexpr std::string_view kName = "\nprocess_resident_memory_bytes ";
    const std::size_t at = answer ? answer->body.find(kName) : std::string::npos;
    return at == std::string::npos ? -1 : std::stoll(answer->body.substr(at + kName.size()));
  }

  const Server& server_;
  const std::vector<std::string>& pictures_;
  httplib::Client client_;
  Rng random_;
  std::map<int, int> statuses_;
};

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() < 5) {
    fmt::print(stderr, "bench_serve load|mixed PORT TOKEN FOLDER COUNT [CLIENTS]\n");
    return 64;
  }
  const Server server{std::stoi(words[1]), words[2]};
  const std::vector<std::string> pictures = pictures_of(words[3]);
  const int count = std::stoi(words[4]);
  const json result = words[0] == "load" ? load(server, pictures, count, std::stoi(words.at(5)))
                                         : Mixed(server, pictures).run(count);
  fmt::print("{}\n", result.dump());
  return 0;
}
