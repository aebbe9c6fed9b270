-- ARGV: record, caps, retention; without a retention nothing is kept. A session that is there already is left as it is.
local record = cjson.decode(ARGV[1])
if redis.call('EXISTS', key('session', record.id)) == 1 then
    return { 'ok' }
end
if ended_by(record) then
    return { 'ended' }
end
for _, cap in ipairs(cjson.decode(ARGV[2])) do
    local set = live(cap.what, record)
    if set then
        redis.call('ZREMRANGEBYSCORE', set, '-inf', int(time))
        if redis.call('ZCARD', set) >= tonumber(cap.most) then
            -- Those whose contact or bot was revoked are still counted. Not all at once: a cap may be new, and a set long.
            for _, id in ipairs(redis.call('ZRANGE', set, 0, 999)) do
                local other = read(id)
                if not other or other.ended then
                    redis.call('ZREM', set, id)
                end
            end
        end
        if redis.call('ZCARD', set) >= tonumber(cap.most) then
            return { 'too many', cap.what }
        end
    end
end
if ARGV[3] then
    write(record, tonumber(ARGV[3]))
    lives(record)
end
return { 'ok' }
