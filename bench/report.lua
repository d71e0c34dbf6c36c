-- Prints the results of wrk in one line: requests, microseconds, socket errors, answers other than 2xx or 3xx, and the
-- 50th and 99th percentile of the latency in microseconds.
function done(summary, latency)
  local errors = summary.errors
  print(string.format("report\t%d\t%d\t%d\t%d\t%d\t%d", summary.requests, summary.duration,
    errors.connect + errors.read + errors.write + errors.timeout, errors.status,
    latency:percentile(50), latency:percentile(99)))
end
