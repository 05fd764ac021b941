// What a process takes of its machine, by the names that all exporters have for it, and which
// release it is.
//
// Thread rules: any thread.
#pragma once

#include <string_view>

#include "services/telemetry/exposition.h"

namespace catena {

// What /proc does not say is left out.
void AddProcessMetrics(std::string_view role, std::string_view version, Exposition& page);

}  // namespace catena
