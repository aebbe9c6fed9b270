-- ARGV: kind, name, until, retention. A contact or bot that is revoked again leaves one entry in the log, the later one.
local kind, name, ends = ARGV[1], ARGV[2], tonumber(ARGV[3])
local earlier = revocation(kind, name)
local at = time
if kind == 'session' then
    if earlier and tonumber(earlier['until']) >= ends then
        return { 'ok', earlier.number, earlier.at }
    end
    at = earlier and tonumber(earlier.at) or time
    local record = read(name)
    if record then
        lives_no_more(record)
        if redis.call('HSETNX', key('session', name), 'ended', int(at)) == 1 then
            redis.call('ZADD', key('gone'), int(math.min(at, tonumber(record.ends)) + tonumber(ARGV[4])), name)
        end
    end
else
    -- Never before the newest that there is: a gateway whose clock is ahead opens none that escapes.
    local newest = redis.call('ZREVRANGE', key(kind, name), 0, 0, 'WITHSCORES')[2]
    at = math.max(at, tonumber(newest or '0'), earlier and tonumber(earlier.at) or 0)
end
if earlier then
    ends = math.max(ends, tonumber(earlier['until']))
    forget(earlier.number)
end
local number = append({ kind = kind, name = name, at = int(at) }, ends)
local entry = cjson.encode({ number = number, at = int(at), ['until'] = int(ends) })
redis.call('HSET', key('revocations'), kind .. ':' .. name, entry)
return { 'ok', number, int(at) }
