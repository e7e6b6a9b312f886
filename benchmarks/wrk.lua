-- Sends one request again and again, and says as one line of JSON what came of it.
-- Arguments: method, path, how many paths there are (%d in it counts them), content type, file with the body.

local requests, last = {}, 0

function init(args)
  local method, path, paths, content_type, file = args[1], args[2], tonumber(args[3]), args[4], args[5]
  local headers, body = {}, nil
  if file then
    headers["Content-Type"] = content_type
    body = assert(io.open(file, "rb")):read("*a")
  end
  for number = 0, paths - 1 do
    requests[number + 1] = wrk.format(method, string.format(path, number), headers, body)
  end
end

function request()
  last = last % #requests + 1
  return requests[last]
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f, "not_2xx": %d, "failed": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout
  ))
end
