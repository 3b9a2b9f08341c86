-- wrk sends the requests of a list, in turn. The list is a file of whole HTTP/1.1 requests separated by the
-- byte 30 (record separator); its path is the first argument. Nothing is composed per request, so that the
-- generator costs the same whatever the list holds. The summary is one line of JSON.

local requests, count, at = {}, 0, 0

function init(args)
  local file = assert(io.open(args[1], "rb"))
  for request in file:read("*a"):gmatch("[^\30]+") do
    count = count + 1
    requests[count] = request
  end
  file:close()
end

function request()
  at = at % count + 1
  return requests[at]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\nRESULT {"requests":%d,"durationUs":%d,"p50Us":%.0f,"p99Us":%.0f,"p999Us":%.0f,"p9999Us":%.0f,'
      .. '"statusErrors":%d,"socketErrors":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
    latency:percentile(99.99), errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
