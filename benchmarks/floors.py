"""The bounds that this project promises to keep."""

from __future__ import annotations

from benchmarks.figures import Floor

FLOORS = (
    Floor("creations", "per_second", "creations per second", 1.0, "tusd"),
    Floor("creations", "server_cpu_microseconds", "CPU of a creation", 1 / 2.4, "floor"),
    Floor("small-uploads", "per_second", "uploads of 4 KiB per second", 1.0, "tusd"),
    Floor("heads", "per_second", "HEADs per second", 1.0, "tusd"),
    Floor("start", "first_answer_seconds", "from start to first answer, s", 1.0),
    Floor("start", "idle_resident_mib", "RSS, idle, MiB", 80.0),
    Floor("creations", "per_second", "creations per second", 3.0, "node"),
    Floor("small-uploads", "per_second", "uploads of 4 KiB per second", 3.0, "node"),
    Floor("big-patch", "megabytes_per_second", "one PATCH of 512 MiB", 0.8, "raw"),
    Floor("big-patch", "megabytes_per_second", "one PATCH of 512 MiB", 3.0, "node"),
    # 0.35 and 0.5 times their CPU time.
    Floor("big-patch", "server_cpu_seconds_per_gib", "CPU per GiB of that PATCH", 1 / 0.35, "node"),
    Floor("big-patch", "server_cpu_seconds_per_gib", "CPU per GiB of that PATCH", 1 / 0.5, "tusd"),
    Floor("big-patch", "peak_resident_mib", "peak RSS during that PATCH, MiB", 90.0),
    Floor("concatenation", "concatenation_seconds", "concatenating 4 uploads of 256 MiB, s", 0.6),
    Floor("takeover", "takeover_ms", "taking over from a connection that hangs, ms", 50.0),
    Floor("slow-uploads", "added_resident_mib", "RSS that 1,000 slow uploads add, MiB", 60.0),
    # Slow uploads must not delay other clients noticeably: less than the jitter of a local network.
    Floor("slow-uploads", "slowdown_p50_ms", "added to another client's median, ms", 1.0),
    Floor("slow-uploads", "slowdown_p99_ms", "added to another client's p99, ms", 10.0),
    Floor("slow-uploads", "p99_ratio", "another client's p99, times that without them", 1.3),
)
