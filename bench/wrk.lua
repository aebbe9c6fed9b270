-- What wrk sends, from the environment: METHOD, TOKEN, and SIZE bytes of JSON, or with MINT each time another contact.
wrk.method = os.getenv("METHOD")
wrk.headers["Authorization"] = "Bearer " .. os.getenv("TOKEN")
local size = tonumber(os.getenv("SIZE") or "0")
if size > 0 then
    wrk.headers["Content-Type"] = "application/json"
    wrk.body = '{"text":"' .. string.rep("a", size - 11) .. '"}'
end

if os.getenv("MINT") then
    wrk.headers["Content-Type"] = "application/json"
    local count = 0
    request = function()
        count = count + 1
        local email = os.getenv("MINT") .. "-" .. count .. "@example.com"
        return wrk.format(nil, nil, nil, '{"contact":{"name":"Jo","email":"' .. email .. '"}}')
    end
end

done = function(summary, latency)
    local errors = summary.errors
    local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
    io.write(string.format('\n{"calls":%d,"failed":%d,"per_sec":%f,"p50_ms":%f,"p99_ms":%f}\n', summary.requests, failed,
        summary.requests * 1e6 / summary.duration, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
