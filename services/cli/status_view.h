// A cluster's status and one of its sequences, for people and for programs.
//
// Thread rules: pure functions.
#pragma once

#include <optional>
#include <string>

#include "catena/v1/cluster.pb.h"
#include <nlohmann/json.hpp>

namespace catena::cli {

// `address`: where the gateway was asked, which it may not know itself.
std::string StatusTable(const v1::GetStatusResponse& status, const std::string& address);
nlohmann::ordered_json StatusJson(const v1::GetStatusResponse& status, const std::string& address);

// Why the cluster is not ready, in one line; nothing where it is.
std::optional<std::string> WhyNotReady(const v1::GetStatusResponse& status);

// What waits or runs, oldest first.
std::string RunningTable(const v1::ListSequencesResponse& running);
nlohmann::ordered_json RunningJson(const v1::ListSequencesResponse& running);

std::string SequenceTable(const v1::DebugSequenceResponse& sequence);
nlohmann::ordered_json SequenceJson(const v1::DebugSequenceResponse& sequence);

}  // namespace catena::cli
