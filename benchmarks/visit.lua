-- Each request carries the cookie of one of the visitors in the file COOKIES, in turn, so that no two requests in
-- flight share a session as long as there are more visitors than connections.
local cookies, at = {}, 0

function init(args)
  for line in io.lines(os.getenv("COOKIES")) do cookies[#cookies + 1] = line end
end

function request()
  at = at % #cookies + 1
  return wrk.format("GET", "/visit", { ["Cookie"] = cookies[at] })
end

function done(summary, latency, requests)
  io.write(string.format("RESULT %d %d %d %d %d %d %d\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), latency.max,
    summary.errors.status, summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
