-- ARGV: key, microseconds between two, how many at once. GCRA: what is kept is when the key is full again.
local name, interval, count = key('rate', ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local full = full_at(name, interval, count) + interval
local wait = full - micros - interval * count
if wait > 0 then
    return { 'wait', int(wait) }
end
redis.call('SET', name, int(full), 'PX', int(math.ceil((full - micros) / 1000)))
return { 'ok', int(full - micros) }
