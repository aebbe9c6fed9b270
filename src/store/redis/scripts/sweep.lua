-- ARGV: how many at once. Answers whether there may be more.
local most = tonumber(ARGV[1])
local sessions = redis.call('ZRANGEBYSCORE', key('gone'), '-inf', int(time), 'LIMIT', 0, most)
for _, id in ipairs(sessions) do
    local record = read(id)
    if record then
        lives_no_more(record)
        for _, index in ipairs(indexes(record)) do
            redis.call('ZREM', index, id)
        end
        redis.call('DEL', key('session', id))
    end
    -- Without its record the indexes of its bot and contact are not known; they go by themselves.
    redis.call('ZREM', key('sessions'), id)
    redis.call('ZREM', key('gone'), id)
end
local entries = redis.call('ZRANGEBYSCORE', key('log-until'), '-inf', int(time), 'LIMIT', 0, most)
for _, number in ipairs(entries) do
    local entry = redis.call('ZRANGEBYSCORE', key('log'), number, number)[1]
    -- One that a later version wrote may be anything.
    local is_read, change = pcall(cjson.decode, entry or '')
    entry = is_read and type(change) == 'table' and change
    if entry and entry.kind and entry.name and entry.kind ~= 'recognised' then
        redis.call('HDEL', key('revocations'), entry.kind .. ':' .. entry.name)
    end
    forget(number)
end
return { 'ok', (#sessions == most or #entries == most) and '1' or '0' }
