// How many cores this process may keep busy.
#pragma once

namespace catena {

// The cores of its affinity mask, or fewer where a cgroup's quota (a container's CPU limit) gives
// less. At least 1.
int UsableCores();

}  // namespace catena
