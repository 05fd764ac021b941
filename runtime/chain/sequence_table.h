// The sequences that are open at a stage, and the leases that keep them open: what a gateway no
// longer names in its heartbeats, or a gateway that is silent for too long, holds nothing (DESIGN
// section 4, rules 8 and 11).
//
// Thread rules: plain state, one thread at a time.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"

#include "runtime/chain/instant.h"
#include "runtime/chain/messages.h"

namespace catena {

template <class Sequence>
class SequenceTable {
 public:
  Sequence* Find(const SequenceKey& key) {
    auto it = sequences_.find(key);
    return it == sequences_.end() ? nullptr : it->second.get();
  }
  // REQUIRES: the key is not open.
  Sequence* Insert(const SequenceKey& key, std::unique_ptr<Sequence> sequence) {
    return (sequences_[key] = std::move(sequence)).get();
  }
  void Erase(const SequenceKey& key) { sequences_.erase(key); }
  // Takes it out. REQUIRES: the key is open.
  std::unique_ptr<Sequence> Extract(const SequenceKey& key) {
    auto it = sequences_.find(key);
    std::unique_ptr<Sequence> sequence = std::move(it->second);
    sequences_.erase(it);
    return sequence;
  }
  void Clear() { sequences_.clear(); }
  size_t size() const { return sequences_.size(); }

  template <class Fn>
  void ForEach(const Fn& fn) {
    for (auto& [key, sequence] : sequences_) fn(key, *sequence);
  }

  // A gateway spoke: all that it has open here stays.
  void Renew(Incarnation gateway, Instant now) { heard_[gateway] = now; }

  // What `gateway` opened up to `heartbeat.newest` and no longer names.
  std::vector<SequenceKey> Unnamed(Incarnation gateway, const Heartbeat& heartbeat) const {
    std::vector<SequenceKey> named, gone;
    for (const Heartbeat::Entry& entry : heartbeat.open) named.push_back(entry.sequence);
    std::sort(named.begin(), named.end());
    for (const auto& [key, sequence] : sequences_) {
      if (key.gateway == gateway && key.number <= heartbeat.newest &&
          !std::binary_search(named.begin(), named.end(), key)) {
        gone.push_back(key);
      }
    }
    return gone;
  }

  // What belongs to gateways that have been silent for `lease`.
  std::vector<SequenceKey> Expired(Instant now, Nanoseconds lease) {
    std::vector<SequenceKey> gone;
    for (auto it = heard_.begin(); it != heard_.end();) {
      if (now - it->second < lease) {
        ++it;
        continue;
      }
      for (const auto& [key, sequence] : sequences_) {
        if (key.gateway == it->first) gone.push_back(key);
      }
      it = heard_.erase(it);
    }
    return gone;
  }

 private:
  absl::flat_hash_map<SequenceKey, std::unique_ptr<Sequence>> sequences_;
  std::map<Incarnation, Instant> heard_;  // when each gateway last spoke
};

}  // namespace catena
