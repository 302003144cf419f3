-- For wrk: sends POST requests without a body, and prints a line of JSON at the end.
wrk.method = "POST"

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      '\n{"requests": %d, "refused": %d, "broken": %d, "microseconds": %d, '
         .. '"p50": %d, "p99": %d, "slowest": %d}\n',
      summary.requests, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
      summary.duration, latency:percentile(50), latency:percentile(99), latency.max
   ))
end
